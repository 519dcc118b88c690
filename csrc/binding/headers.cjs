// Prints the folder of node-addon-api's headers. In a checkout it is a development dependency. In an installed package it
// is not there, and need not be: `npx --package=node-addon-api` puts it beside a folder of programs on the PATH.

const { delimiter, dirname, sep } = require("node:path");

const programs = (process.env.PATH ?? "").split(delimiter).filter((path) => path.endsWith(`node_modules${sep}.bin`));
const found = require.resolve("node-addon-api", { paths: [__dirname, ...programs.map((path) => dirname(path))] });
process.stdout.write(dirname(found).replaceAll(sep, "/"));
