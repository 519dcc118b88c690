// class Engine: one bw_selfplay on a thread of its own.
#ifndef BW_BINDING_ENGINE_H
#define BW_BINDING_ENGINE_H

#include "js.h"

#include <memory>

#include "worker.h"

namespace bellows {

struct EngineState;

class Engine : public Napi::ObjectWrap<Engine> {
 public:
  static void Define(Napi::Env env, Napi::Object exports);
  explicit Engine(const Napi::CallbackInfo& info);
  ~Engine() override;

 private:
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
  Napi::Value Weights(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  Napi::Value MeasureRoof(const Napi::CallbackInfo& info);
  Napi::Value Profile(const Napi::CallbackInfo& info);
  Napi::Value ProfileReset(const Napi::CallbackInfo& info);
  Napi::Value Cancel(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  // Posts a job that runs after those posted before it; rejects when closed or not started.
  Napi::Value Post(Napi::Env env, std::unique_ptr<Job> job);
  void DetachView(Napi::Env env);

  std::shared_ptr<EngineState> state_;
  std::shared_ptr<Worker> worker_;
  // Points to this engine; an ArrayBuffer over the engine's memory holds it and this object while it lives.
  std::shared_ptr<Engine*> self_;
  Napi::Reference<Napi::ArrayBuffer> view_;  // weak
  int64_t external_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace bellows

#endif
