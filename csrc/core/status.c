#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void begin(bw_error* error, bw_status status, const char* op) {
  memset(error, 0, sizeof *error);
  error->status = status;
  snprintf(error->op, sizeof error->op, "%s", op ? op : "");
}

bw_status bw_fail(bw_error* error, bw_status status, const char* op, const char* format, ...) {
  if (!error) return status;
  begin(error, status, op);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->message, sizeof error->message, format, arguments);
  va_end(arguments);
  return status;
}

bw_status bw_fail_option(bw_error* error, const char* op, const char* path, const char* received,
                         const char* expected) {
  if (!error) return BW_OPTION;
  begin(error, BW_OPTION, op);
  snprintf(error->path, sizeof error->path, "%s", path ? path : "");
  snprintf(error->received, sizeof error->received, "%s", received ? received : "");
  snprintf(error->expected, sizeof error->expected, "%s", expected ? expected : "");
  // `expected` is cut here and whole in its own field.
  snprintf(error->message, sizeof error->message, "%s: got %s; allowed: %.170s", error->path, error->received,
           error->expected);
  return BW_OPTION;
}

bw_status bw_fail_memory(bw_error* error, const char* op, const char* what, uint64_t needed, uint64_t available) {
  if (!error) return BW_MEMORY;
  begin(error, BW_MEMORY, op);
  error->needed = needed;
  error->available = available;
  const double mib = 1024.0 * 1024.0;
  if (available) {
    snprintf(error->message, sizeof error->message, "not enough memory for %s: %.1f MiB needed, %.1f MiB available",
             what, (double)needed / mib, (double)available / mib);
  } else {
    snprintf(error->message, sizeof error->message, "not enough memory for %s: %.1f MiB needed", what,
             (double)needed / mib);
  }
  return BW_MEMORY;
}

const char* bw_status_name(bw_status status) {
  switch (status) {
    case BW_OK:
      return "OK";
    case BW_OPTION:
      return "OPTION";
    case BW_MEMORY:
      return "MEMORY";
    case BW_NUMERIC:
      return "NUMERIC";
    case BW_CHECKPOINT:
      return "CHECKPOINT";
    case BW_CANCELLED:
      return "CANCELLED";
    case BW_DEVICE:
      return "DEVICE";
    case BW_STATE:
      return "STATE";
  }
  return "UNKNOWN";
}
