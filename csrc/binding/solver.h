// class Connect4Solver: one bw_connect4_solver, with a thread of its own that leads the solver's.
#ifndef BW_BINDING_SOLVER_H
#define BW_BINDING_SOLVER_H

#include "js.h"

#include <memory>

#include "worker.h"

namespace bellows {

struct SolverState;

// Wrapped as class Engine is.
class Solver {
 public:
  static void Define(Napi::Env env, Napi::Object exports);
  Solver();
  ~Solver();

 private:
  static napi_value Construct(napi_env env, napi_callback_info info);
  template <Napi::Value (Solver::*method)(const Napi::CallbackInfo&), bool promises>
  static napi_value Call(napi_env env, napi_callback_info info);

  Napi::Value Start(const Napi::CallbackInfo& info);
  Napi::Value Solve(const Napi::CallbackInfo& info);
  Napi::Value Solved(const Napi::CallbackInfo& info);
  Napi::Value Cancel(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  Napi::Value Send(Napi::Env env, std::unique_ptr<Job> job);

  // The object lives while there are references.
  void Ref() { object_.Ref(); }
  void Unref() { object_.Unref(); }

  Napi::ObjectReference object_;  // the wrapping object, weak
  std::shared_ptr<SolverState> state_;
  std::shared_ptr<Worker> worker_;
  std::unique_ptr<Job> last_;  // close()'s job, made before it is needed: closing takes no memory
  int64_t external_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace bellows

#endif
