// The C tests' whole framework: checks that count and print, and one line at the end. A test file is one program;
// its main() calls the tests and ends with `return check_summary("name");`.
//
// A failed check prints where and what, and the test goes on; REQUIRE ends the program, for what the rest stands on.
// Threads may check: the counters are atomic.
#ifndef BW_TEST_CHECK_H
#define BW_TEST_CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
static inline int setenv(const char* name, const char* value, int overwrite) {
  (void)overwrite;
  return _putenv_s(name, value);
}
static inline int unsetenv(const char* name) { return _putenv_s(name, ""); }
#endif

static atomic_llong check_count;
static atomic_llong check_failures;

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static inline bool
check_record(bool ok, const char* file, int line, const char* format, ...) {
  atomic_fetch_add_explicit(&check_count, 1, memory_order_relaxed);
  if (ok) return true;
  // The first failures tell the story; a thousand more would bury it.
  if (atomic_fetch_add(&check_failures, 1) < 40) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
  }
  return false;
}

static inline bool check_near(double got, double wanted, double tolerance, const char* text, const char* file,
                              int line) {
  const bool ok = got == wanted || fabs(got - wanted) <= tolerance;  // false for NaN
  return check_record(ok, file, line, "%s: got %.9g, wanted %.9g within %.3g", text, got, wanted, tolerance);
}

static inline bool check_string(const char* got, const char* wanted, const char* text, const char* file, int line) {
  const bool ok = got && wanted && strcmp(got, wanted) == 0;
  return check_record(ok, file, line, "%s: got \"%s\", wanted \"%s\"", text, got ? got : "(null)",
                      wanted ? wanted : "(null)");
}

// Each is an expression that is true when the check passed, so that a test can say more or leave.
#define CHECK(condition) check_record(!!(condition), __FILE__, __LINE__, "failed: %s", #condition)

// With a printf-formatted text of what was being tried.
#define CHECK_MSG(condition, ...) check_record(!!(condition), __FILE__, __LINE__, __VA_ARGS__)

#define CHECK_EQ_INT(got, wanted) check_int((int64_t)(got), (int64_t)(wanted), #got, __FILE__, __LINE__)
static inline bool check_int(int64_t got, int64_t wanted, const char* text, const char* file, int line) {
  return check_record(got == wanted, file, line, "%s: got %lld, wanted %lld", text, (long long)got, (long long)wanted);
}

#define CHECK_EQ_STR(got, wanted) check_string((got), (wanted), #got, __FILE__, __LINE__)

// |got - wanted| <= tolerance; fails on NaN.
#define CHECK_NEAR(got, wanted, tolerance) \
  check_near((double)(got), (double)(wanted), (double)(tolerance), #got, __FILE__, __LINE__)

// Equal bytes.
#define CHECK_BYTES(got, wanted, size) \
  check_record(memcmp((got), (wanted), (size)) == 0, __FILE__, __LINE__, "%s and %s differ", #got, #wanted)

// Ends the program when it does not hold.
#define REQUIRE(condition)                                        \
  do {                                                            \
    if (!CHECK(condition)) exit(check_summary("required check")); \
  } while (0)

// Prints "name: N checks, M failed"; the exit status for main().
static inline int check_summary(const char* name) {
  const long long count = atomic_load(&check_count), failures = atomic_load(&check_failures);
  printf("%s: %lld checks, %lld failed\n", name, count, failures);
  return failures == 0 && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
