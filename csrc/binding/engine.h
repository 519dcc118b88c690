// class Engine: one bw_selfplay on a thread of its own.
#ifndef BW_BINDING_ENGINE_H
#define BW_BINDING_ENGINE_H

#include "js.h"

#include <memory>

#include "worker.h"

namespace bellows {

struct EngineState;

// Wrapped without Napi::ObjectWrap, which lets no one catch what its `new` throws.
class Engine {
 public:
  static void Define(Napi::Env env, Napi::Object exports);
  Engine();
  ~Engine();

 private:
  static napi_value Construct(napi_env env, napi_callback_info info);
  template <Napi::Value (Engine::*method)(const Napi::CallbackInfo&)>
  static napi_value Call(napi_env env, napi_callback_info info);

  Napi::Value Start(const Napi::CallbackInfo& info);
  Napi::Value Iterate(const Napi::CallbackInfo& info);
  Napi::Value Certify(const Napi::CallbackInfo& info);
  Napi::Value VersusRandom(const Napi::CallbackInfo& info);
  Napi::Value Policy(const Napi::CallbackInfo& info);
  Napi::Value Save(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value PoolSnapshots(const Napi::CallbackInfo& info);
  Napi::Value PoolGet(const Napi::CallbackInfo& info);
  Napi::Value PoolPut(const Napi::CallbackInfo& info);
  Napi::Value SetStarts(const Napi::CallbackInfo& info);
  Napi::Value Pin(const Napi::CallbackInfo& info);
  Napi::Value Weights(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  Napi::Value MeasureRoof(const Napi::CallbackInfo& info);
  Napi::Value Profile(const Napi::CallbackInfo& info);
  Napi::Value ProfileReset(const Napi::CallbackInfo& info);
  Napi::Value TraceStart(const Napi::CallbackInfo& info);
  Napi::Value TraceTake(const Napi::CallbackInfo& info);
  Napi::Value TraceStop(const Napi::CallbackInfo& info);
  Napi::Value Cancel(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  // Posts a job that runs after those posted before it; rejects when closed or not started.
  Napi::Value Post(Napi::Env env, std::unique_ptr<Job> job);
  Napi::Value Send(Napi::Env env, std::unique_ptr<Job> job);

  // The object lives while there are references.
  void Ref() { object_.Ref(); }
  void Unref() { object_.Unref(); }

  Napi::ObjectReference object_;  // the wrapping object, weak
  std::shared_ptr<EngineState> state_;
  std::shared_ptr<Worker> worker_;
  std::unique_ptr<Job> last_;  // close()'s job, made before it is needed: closing takes no memory
  int64_t external_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace bellows

#endif
