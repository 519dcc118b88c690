#include "decimal.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "posix.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

// Made once and kept. Where there is no memory for it the thread's own locale stays.
#ifdef _WIN32

static _locale_t c_locale;
static void make_locale(void) { c_locale = _create_locale(LC_NUMERIC, "C"); }

double bw_decimal_read(const char* text) {
  pthread_once(&once, make_locale);
  return _strtod_l(text, NULL, c_locale);
}

void bw_decimal_print(double value, int digits, char* text, size_t size) {
  pthread_once(&once, make_locale);
  _snprintf_l(text, size, "%.*g", c_locale, digits, value);
  if (size > 0) text[size - 1] = 0;
}

#else

static locale_t c_locale;
static void make_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

// Of this thread alone.
static locale_t enter(void) {
  pthread_once(&once, make_locale);
  return uselocale(c_locale);
}

double bw_decimal_read(const char* text) {
  const locale_t before = enter();
  const double value = strtod(text, NULL);
  uselocale(before);
  return value;
}

void bw_decimal_print(double value, int digits, char* text, size_t size) {
  const locale_t before = enter();
  snprintf(text, size, "%.*g", digits, value);
  uselocale(before);
}

#endif
