#include "errors.h"

namespace bellows {

Napi::Object ErrorObject(Napi::Env env, bw_status status, const bw_error& error) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", bw_status_name(status));
  object.Set("op", error.op);
  object.Set("device", error.device);
  object.Set("path", error.path);
  object.Set("received", error.received);
  object.Set("expected", error.expected);
  object.Set("message", error.message[0] ? error.message : bw_status_name(status));
  object.Set("needed", static_cast<double>(error.needed));
  object.Set("available", static_cast<double>(error.available));
  object.Set("step", static_cast<double>(error.step));
  return object;
}

Napi::Object ClosedObject(Napi::Env env, const char* op) {
  bw_error error{};
  Napi::Object object = ErrorObject(env, BW_STATE, error);
  object.Set("status", "CLOSED");
  object.Set("op", op);
  object.Set("message", "the run is closed");
  return object;
}

Napi::Object Failure(Napi::Env env, bw_status status, const bw_error& error) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("ok", false);
  object.Set("error", ErrorObject(env, status, error));
  return object;
}

Napi::Object Success(Napi::Env env, const char* key, Napi::Value value) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("ok", true);
  object.Set(key, value);
  return object;
}

Napi::Value WrongArguments(Napi::Env env, const char* signature) {
  Napi::TypeError::New(env, signature).ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value MakePromise(Napi::Env env, napi_deferred* deferred) {
  napi_value promise = nullptr;
  if (napi_create_promise(env, deferred, &promise) != napi_ok) return Napi::Value();
  return Napi::Value(env, promise);
}

Napi::Value Rejected(Napi::Env env, Napi::Object reason) {
  napi_deferred deferred = nullptr;
  Napi::Value promise = MakePromise(env, &deferred);
  if (!promise.IsEmpty()) napi_reject_deferred(env, deferred, reason);
  return promise;
}

Napi::Value Resolved(Napi::Env env) {
  napi_deferred deferred = nullptr;
  Napi::Value promise = MakePromise(env, &deferred);
  if (!promise.IsEmpty()) napi_resolve_deferred(env, deferred, env.Undefined());
  return promise;
}

bw_status FailMemory(bw_error* error, const char* op) { return bw_fail(error, BW_MEMORY, op, "not enough memory"); }

Napi::Object MemoryObject(Napi::Env env, const char* op) {
  bw_error error{};
  return ErrorObject(env, FailMemory(&error, op), error);
}

}  // namespace bellows
