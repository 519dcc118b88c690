// Engine errors as plain JavaScript objects; lib/errors.ts makes typed errors of them.
#ifndef BW_BINDING_ERRORS_H
#define BW_BINDING_ERRORS_H

#include "js.h"

#include "../core/status.h"

namespace bellows {

// {status, op, device, path, received, expected, message, needed, available, step}
Napi::Object ErrorObject(Napi::Env env, bw_status status, const bw_error& error);

// The same, for a call on an engine that was closed: status "CLOSED".
Napi::Object ClosedObject(Napi::Env env, const char* op);

// {ok: false, error}: how synchronous functions report a failure.
Napi::Object Failure(Napi::Env env, bw_status status, const bw_error& error);

}  // namespace bellows

#endif
