// Options are read and printed with a decimal point, also where the locale of the program has a comma.
#include <locale.h>
#ifndef _WIN32
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "../../csrc/core/decimal.h"
#include "../../csrc/train/config.h"
#include "check.h"

#ifdef __GLIBC__
// LC_NUMERIC with a comma as localedef compiles it (little-endian): what a system has where no locale is installed.
static const unsigned char kComma[] =
    "\x14\x11\x03\x20\x06\0\0\0\x20\0\0\0\x22\0\0\0\x24\0\0\0\x28\0\0\0\x2c\0\0\0\x30\0\0\0,\0.\0\3\3\0\0,\0\0\0.\0\0\0"
    "ANSI_X3.4-1968";

static bool write_locale(void) {
  char folder[] = "/tmp/bellows-locale-XXXXXX", path[64];
  if (!mkdtemp(folder)) return false;
  snprintf(path, sizeof path, "%s/comma", folder);
  bool ok = mkdir(path, 0700) == 0;
  snprintf(path, sizeof path, "%s/comma/LC_NUMERIC", folder);
  FILE* file = fopen(path, "wb");
  ok = ok && file && fwrite(kComma, 1, sizeof kComma, file) == sizeof kComma;
  if (file) ok = fclose(file) == 0 && ok;
  setenv("LOCPATH", folder, 1);
  ok = ok && setlocale(LC_NUMERIC, "comma") != NULL;
  unsetenv("LOCPATH");
  unlink(path);
  snprintf(path, sizeof path, "%s/comma", folder);
  rmdir(path);
  rmdir(folder);
  return ok;
}
#endif

static bool choose_comma(void) {
  static const char* const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "de-DE", "fr_FR.UTF-8"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    if (setlocale(LC_NUMERIC, names[i]) && strcmp(localeconv()->decimal_point, ",") == 0) return true;
  }
#ifdef __GLIBC__
  return write_locale();
#else
  return false;
#endif
}

static void test_text(void) {
  static const struct {
    double value;
    int digits;
    const char* text;
  } cases[] = {
      {0.5, 17, "0.5"}, {-1234567.25, 17, "-1234567.25"}, {1.5e-10, 2, "1.5e-10"}, {0.1, 1, "0.1"}, {3, 5, "3"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    char text[32];
    bw_decimal_print(cases[i].value, cases[i].digits, text, sizeof text);
    CHECK_EQ_STR(text, cases[i].text);
    CHECK(bw_decimal_read(text) == cases[i].value);
  }
}

static void test_options(void) {
  bw_config config;
  bw_error error;
  REQUIRE(bw_config_init(&config, "connect4", &error) == BW_OK);
  CHECK(bw_config_set(&config, "ppo.lr", BW_VALUE_NUMBER, "0.000625", &error) == BW_OK);
  CHECK(config.ppo_lr == 0.000625);
  CHECK(bw_config_set(&config, "ppo.lr", BW_VALUE_NUMBER, "0,000625", &error) == BW_OPTION);
  CHECK_MSG(!strchr(error.expected, ','), "%s", error.expected);
  for (int i = 0; i < bw_config_count(); ++i) {
    const char* path;
    bw_value_kind kind;
    char text[64];
    bw_config_get(&config, i, &path, &kind, text, sizeof text);
    if (kind != BW_VALUE_NUMBER) continue;
    CHECK_MSG(!strchr(text, ','), "%s: %s", path, text);
    CHECK_MSG(bw_config_set(&config, path, kind, text, &error) == BW_OK, "%s: %s: %s", path, text, error.message);
    if (strcmp(path, "ppo.lr") == 0) CHECK_EQ_STR(text, "0.000625");
  }
}

int main(void) {
  test_text();
  test_options();
  if (choose_comma()) {
    char text[8];
    snprintf(text, sizeof text, "%.1f", 0.5);
    CHECK_EQ_STR(text, "0,5");  // so it is in force
    test_text();
    test_options();
    snprintf(text, sizeof text, "%.1f", 0.5);
    CHECK_EQ_STR(text, "0,5");  // and is left so
  } else {
#ifdef __GLIBC__
    CHECK(!"a locale with a comma");
#endif
    printf("  no locale with a comma here\n");  // musl has none
  }
  return check_summary("decimal");
}
