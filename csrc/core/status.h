// Status codes and the error record that every fallible function of the engine fills.
//
// The engine never prints, exits or aborts. A function that can fail returns a bw_status and, when it is not
// BW_OK, has filled the bw_error that the caller passed (NULL is allowed and means "I only want the code").
#ifndef BW_CORE_STATUS_H
#define BW_CORE_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bw_status {
  BW_OK = 0,
  BW_OPTION,      // an option or argument is unknown, of the wrong type or out of range: path, received, expected
  BW_MEMORY,      // an allocation failed or a plan does not fit: needed, available
  BW_NUMERIC,     // NaN or infinity in a loss, gradient or weight: step, tensor (in path)
  BW_CHECKPOINT,  // a checkpoint is truncated, corrupt, or of another shape: path = tensor or header field
  BW_CANCELLED,   // bw_selfplay_cancel was called
  BW_DEVICE,      // the device does not exist here or failed
  BW_STATE,       // the call is not possible in the object's present state
} bw_status;

typedef struct bw_error {
  bw_status status;
  char op[48];         // function or kernel that failed, e.g. "selfplay.create"
  char device[16];     // "cpu", "emu", ...; empty where no device is involved
  char path[96];       // option path ("ppo.clip"), tensor name or header field
  char received[96];   // the offending value as text
  char expected[192];  // what is allowed, e.g. "a number from 0 to 1"
  char message[384];   // one sentence for people; never empty on failure
  uint64_t needed;     // bytes, for BW_MEMORY; 0 if unknown
  uint64_t available;  // bytes, for BW_MEMORY
  int64_t step;        // optimiser step, for BW_NUMERIC
} bw_error;

// Fills error (may be NULL) with status, op and a printf-formatted message; returns status.
bw_status bw_fail(bw_error* error, bw_status status, const char* op, const char* format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

// A BW_OPTION failure. The message is composed from the three parts.
bw_status bw_fail_option(bw_error* error, const char* op, const char* path, const char* received, const char* expected);

// A BW_MEMORY failure while allocating `what`.
bw_status bw_fail_memory(bw_error* error, const char* op, const char* what, uint64_t needed, uint64_t available);

const char* bw_status_name(bw_status status);  // "OPTION", "MEMORY", ...

// Returns from the calling function when expr is not BW_OK.
#define BW_TRY(expr)                                  \
  do {                                                \
    bw_status bw_try_status = (expr);                 \
    if (bw_try_status != BW_OK) return bw_try_status; \
  } while (0)

#ifdef __cplusplus
}
#endif
#endif
