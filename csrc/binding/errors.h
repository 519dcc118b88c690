// Engine errors as plain JavaScript objects; lib/errors.ts makes typed errors of them.
#ifndef BW_BINDING_ERRORS_H
#define BW_BINDING_ERRORS_H

#include "js.h"

#include <new>

#include "../core/status.h"

namespace bellows {

// {status, op, device, path, received, expected, message, needed, available, step}
Napi::Object ErrorObject(Napi::Env env, bw_status status, const bw_error& error);

// The same, for a call on an engine that was closed: status "CLOSED".
Napi::Object ClosedObject(Napi::Env env, const char* op);

// {ok: false, error}: how synchronous functions report a failure.
Napi::Object Failure(Napi::Env env, bw_status status, const bw_error& error);

// {ok: true, KEY: value}: how they report anything else.
Napi::Object Success(Napi::Env env, const char* key, Napi::Value value);

// Throws a TypeError: what a caller of the addon, never a user, gets for arguments of another form.
Napi::Value WrongArguments(Napi::Env env, const char* signature);

// A promise; empty in an environment that is being terminated. (Napi::Promise::Deferred gives a value that was never
// set then, which crashes whoever awaits it.)
Napi::Value MakePromise(Napi::Env env, napi_deferred* deferred);
Napi::Value Rejected(Napi::Env env, Napi::Object reason);
Napi::Value Resolved(Napi::Env env);  // with undefined

// ---- a full heap ----

// C++ throws bad_alloc, and Node's own frames cannot take an exception: every function that JavaScript calls, and every
// job, catches it and reports BW_MEMORY in its own way. How much was asked for is not known then: needed is 0.
bw_status FailMemory(bw_error* error, const char* op);
Napi::Object MemoryObject(Napi::Env env, const char* op);

// For functions that give a promise, an {ok, ...} object, or a value.
template <class Body>
Napi::Value OrReject(Napi::Env env, const char* op, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Rejected(env, MemoryObject(env, op));
  }
}
template <class Body>
Napi::Value OrFailure(Napi::Env env, const char* op, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    bw_error error{};
    return Failure(env, FailMemory(&error, op), error);
  }
}
template <class Body>
Napi::Value OrThrow(Napi::Env env, const char* op, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    napi_throw(env, MemoryObject(env, op));
    return Napi::Value();
  }
}

}  // namespace bellows

#endif
