#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void clear(bw_error* error, bw_status status, const char* op) {
  memset(error, 0, sizeof *error);
  error->status = status;
  snprintf(error->op, sizeof error->op, "%s", op);
}

bw_status bw_fail(bw_error* error, bw_status status, const char* op, const char* format, ...) {
  if (error) {
    clear(error, status, op);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
  }
  return status;
}

bw_status bw_fail_option(bw_error* error, const char* op, const char* path, const char* received, const char* expected) {
  if (error) {
    clear(error, BW_OPTION, op);
    snprintf(error->path, sizeof error->path, "%s", path);
    snprintf(error->received, sizeof error->received, "%s", received);
    snprintf(error->expected, sizeof error->expected, "%s", expected);
    snprintf(error->message, sizeof error->message, "%s: received %s, expected %s", error->path, error->received, error->expected);
  }
  return BW_OPTION;
}

bw_status bw_fail_memory(bw_error* error, const char* op, const char* what, uint64_t needed, uint64_t available) {
  if (error) {
    clear(error, BW_MEMORY, op);
    error->needed = needed;
    error->available = available;
    snprintf(error->message, sizeof error->message, "not enough memory for %s: %.1f MiB needed", what, (double)needed / 1048576.0);
  }
  return BW_MEMORY;
}

const char* bw_status_name(bw_status status) {
  static const char* const names[] = {"OK", "OPTION", "MEMORY", "NUMERIC", "CHECKPOINT", "CANCELLED", "DEVICE", "STATE"};
  return names[status];
}
