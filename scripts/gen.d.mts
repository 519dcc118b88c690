/** The macro lines of a .def file. Strings lose their quotes. */
export function parseDef(text: string, file: string): { macro: string; args: string[]; line: number }[];
/** Path and contents of every generated file. */
export function outputs(): [path: string, text: string][];
