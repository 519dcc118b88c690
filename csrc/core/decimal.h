// Numbers as text with a decimal point. The C library's own functions write and read what LC_NUMERIC asks for, which
// may be a comma: that is the host program's choice, and may change while the engine runs.
#ifndef BW_CORE_DECIMAL_H
#define BW_CORE_DECIMAL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

double bw_decimal_read(const char* text);  // strtod in the C locale
// "%.*g" in the C locale; digits: 1 to 17.
void bw_decimal_print(double value, int digits, char* text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
