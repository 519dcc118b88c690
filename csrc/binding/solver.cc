#include "solver.h"

#include <cmath>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "convert.h"

namespace bellows {

namespace {

// A solution is so many numbers to JavaScript: score, whether the game is over, nodes, seconds, a score for each column
// (NaN: none).
constexpr size_t kColumns = 4 + BW_CONNECT4_COLUMNS;

// The positions of one call.
struct Batch {
  std::vector<std::string> moves;
  bool with_scores = false;
  std::vector<bw_connect4_solution> solutions;
  std::vector<char> done;

  // Guards `done` and `first`; solutions that are done change no more.
  std::mutex mutex;
  size_t first = 0;  // all before it are done

  void Finish(size_t index) {
    std::lock_guard<std::mutex> lock(mutex);
    done[index] = 1;
    while (first < done.size() && done[first]) ++first;
  }
};

// Solutions from `begin` up to `end`.
Napi::Float64Array Rows(Napi::Env env, const Batch& batch, size_t begin, size_t end) {
  Napi::Float64Array rows = Napi::Float64Array::New(env, (end - begin) * kColumns);
  if (rows.IsEmpty() || begin == end) return rows;
  double* out = rows.Data();
  for (size_t i = begin; i < end; ++i) {
    const bw_connect4_solution& solution = batch.solutions[i];
    *out++ = solution.score;
    *out++ = solution.over ? 1 : 0;
    *out++ = static_cast<double>(solution.nodes);
    *out++ = solution.seconds;
    for (int score : solution.scores) *out++ = score == BW_CONNECT4_NO_SCORE ? std::nan("") : score;
  }
  return rows;
}

struct Started {
  int threads = 0;
  uint64_t bytes = 0;
};

}  // namespace

// What the solver's thread and the JavaScript thread share.
struct SolverState {
  bw_connect4_solver* solver = nullptr;  // made, used and destroyed on the solver's thread

  std::mutex mutex;               // guards the fields below, and `solver` against its end while another thread cancels
  uint64_t cancelled = 0;         // jobs with a ticket up to this one are cancelled
  std::shared_ptr<Batch> solved;  // that is being solved

  void CancelUpTo(uint64_t ticket) {
    std::lock_guard<std::mutex> lock(mutex);
    if (ticket > cancelled) cancelled = ticket;
    if (solver) bw_connect4_solver_cancel(solver);
  }

  void Destroy() {
    bw_connect4_solver* gone;
    {
      std::lock_guard<std::mutex> lock(mutex);
      gone = solver;
      solver = nullptr;
    }
    bw_connect4_solver_destroy(gone);
  }

  bw_status Solve(const std::shared_ptr<Batch>& batch, uint64_t ticket, bw_error* error) {
    const char* op = "solver.solve";
    if (!solver) return bw_fail(error, BW_STATE, op, "the solver was not created");
    const size_t count = batch->moves.size();
    std::vector<const char*> texts(count);
    for (size_t i = 0; i < count; ++i) {
      const bw_status status = CheckText(batch->moves[i], op, "moves", error);
      if (status != BW_OK) {
        error->step = static_cast<int64_t>(i);
        return status;
      }
      texts[i] = batch->moves[i].c_str();
    }
    batch->solutions.resize(count);
    batch->done.resize(count);
    {
      // A cancel comes before this, and is seen here, or after it, and the solver sees it.
      std::lock_guard<std::mutex> lock(mutex);
      if (ticket <= cancelled) return bw_fail(error, BW_CANCELLED, op, "cancelled");
      bw_connect4_solver_clear_cancel(solver);
      solved = batch;
    }
    const bw_status status = bw_connect4_solver_solve(
        solver, texts.data(), static_cast<int64_t>(count), batch->with_scores,
        [](void* context, int64_t index) { static_cast<Batch*>(context)->Finish(static_cast<size_t>(index)); },
        batch.get(), batch->solutions.data(), error);
    std::lock_guard<std::mutex> lock(mutex);
    solved = nullptr;
    return status;
  }
};

// What JavaScript calls: a method that gives a promise, or one that throws.
template <Napi::Value (Solver::*method)(const Napi::CallbackInfo&), bool promises>
napi_value Solver::Call(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  void* solver = nullptr;
  if (napi_unwrap(env, info.This(), &solver) != napi_ok) return WrongArguments(env, "a method of Connect4Solver");
  const char* op = static_cast<const char*>(info.Data());
  auto body = [&] { return (static_cast<Solver*>(solver)->*method)(info); };
  return promises ? OrReject(env, op, body) : OrThrow(env, op, body);
}

napi_value Solver::Construct(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  if (!info.IsConstructCall()) return WrongArguments(env, "new Connect4Solver()");
  return OrThrow(env, "solver.create", [&]() -> Napi::Value {
    auto solver = std::make_unique<Solver>();
    napi_ref object = nullptr;
    napi_finalize finalize = [](napi_env e, void* data, void*) {
      std::unique_ptr<Solver> gone(static_cast<Solver*>(data));
      Napi::MemoryManagement::AdjustExternalMemory(e, -gone->external_bytes_);  // 0 when it was closed
    };
    if (napi_wrap(env, info.This(), solver.get(), finalize, nullptr, &object) != napi_ok) {
      return WrongArguments(env, "new Connect4Solver(): its object cannot be wrapped");
    }
    solver.release()->object_ = Napi::ObjectReference(env, object);
    return info.This();
  });
}

void Solver::Define(Napi::Env env, Napi::Object exports) {
#define METHOD(name, method, promises)                                                                       \
  napi_property_descriptor {                                                                                 \
    name, nullptr, &Solver::Call<&Solver::method, promises>, nullptr, nullptr, nullptr, napi_default_method, \
        const_cast<char*>("solver." name)                                                                    \
  }
  const napi_property_descriptor methods[] = {
      METHOD("start", Start, true),    METHOD("solve", Solve, true), METHOD("solved", Solved, false),
      METHOD("cancel", Cancel, false), METHOD("close", Close, true),
  };
#undef METHOD
  napi_value constructor = nullptr;
  napi_define_class(env, "Connect4Solver", NAPI_AUTO_LENGTH, &Solver::Construct, nullptr, std::size(methods), methods,
                    &constructor);
  exports.Set("Connect4Solver", constructor);
}

Solver::Solver() : state_(std::make_shared<SolverState>()) {}

// Reached as Engine's is.
Solver::~Solver() {
  if (worker_) worker_->Stop();
}

Napi::Value Solver::Send(Napi::Env env, std::unique_ptr<Job> job) {
  job->settled = [this](Napi::Env) { Unref(); };
  Ref();
  return worker_->Post(env, std::move(job));
}

// start(threads, bytes, book): {threads, bytes} that it has.
Napi::Value Solver::Start(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const char* op = "solver.create";
  if (!info[0].IsNumber() || !info[1].IsNumber() || !info[2].IsBoolean()) {
    return WrongArguments(env, "start(threads, bytes, book)");
  }
  if (closed_) return Rejected(env, ClosedObject(env, op));
  bw_error error{};
  if (worker_) {
    bw_fail(&error, BW_STATE, op, "the solver is already started");
    return Rejected(env, ErrorObject(env, BW_STATE, error));
  }
  int threads = info[0].As<Napi::Number>().Int32Value();
  uint64_t bytes = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
  bool book = info[2].As<Napi::Boolean>().Value();
  std::shared_ptr<SolverState> state = state_;
  auto job = MakeJob<Started>(
      op,
      [state, threads, bytes, book](Started& started, bw_error* e) -> bw_status {
        bw_connect4_solver* made = nullptr;
        BW_TRY(bw_connect4_solver_create(threads, bytes, book, &made, e));
        started.threads = bw_connect4_solver_threads(made);
        started.bytes = bw_connect4_solver_bytes(made);
        std::lock_guard<std::mutex> lock(state->mutex);
        state->solver = made;
        return BW_OK;
      },
      [this](Napi::Env e, Started& started) -> Napi::Value {
        external_bytes_ = static_cast<int64_t>(started.bytes);
        Napi::MemoryManagement::AdjustExternalMemory(e, external_bytes_);
        Napi::Object object = Napi::Object::New(e);
        object.Set("threads", started.threads);
        object.Set("bytes", static_cast<double>(started.bytes));
        return object;
      });
  auto last = std::make_unique<Job>();
  // A cancel without a ticket (from Stop) ends whatever runs.
  worker_ = Worker::Start(
      env, [state] { state->CancelUpTo(UINT64_MAX); }, [state] { state->Destroy(); });
  if (!worker_) return Rejected(env, ErrorObject(env, bw_fail_thread(&error, op, 1, 1), error));
  last_ = std::move(last);
  return Send(env, std::move(job));
}

// solve(moves[], withScores): rows of all positions, in order. An error carries the position's index as step.
Napi::Value Solver::Solve(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const char* op = "solver.solve";
  auto batch = std::make_shared<Batch>();
  if (!info[1].IsBoolean()) return WrongArguments(env, "solve(moves, withScores)");
  if (!ReadStrings(info[0], &batch->moves)) return env.Undefined();
  if (closed_) return Rejected(env, ClosedObject(env, op));
  if (!worker_) {
    bw_error error{};
    bw_fail(&error, BW_STATE, op, "the solver is not started");
    return Rejected(env, ErrorObject(env, BW_STATE, error));
  }
  batch->with_scores = info[1].As<Napi::Boolean>().Value();
  std::shared_ptr<SolverState> state = state_;
  uint64_t ticket = worker_->newest() + 1;
  return Send(env, MakeJob<std::shared_ptr<Batch>>(
                       op,
                       [state, batch, ticket](std::shared_ptr<Batch>& out, bw_error* error) -> bw_status {
                         out = batch;
                         return state->Solve(batch, ticket, error);
                       },
                       [](Napi::Env e, std::shared_ptr<Batch>& out) { return Rows(e, *out, 0, out->moves.size()); }));
}

// solved(begin): rows of the positions from `begin` up to the first one that is not solved, of the call in progress.
Napi::Value Solver::Solved(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return WrongArguments(env, "solved(begin)");
  size_t begin = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  std::shared_ptr<Batch> batch;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    batch = state_->solved;
  }
  size_t end = begin;
  if (batch) {
    std::lock_guard<std::mutex> lock(batch->mutex);
    if (batch->first > begin) end = batch->first;
  }
  if (begin == end) return Napi::Float64Array::New(env, 0);
  return Rows(env, *batch, begin, end);
}

// cancel(): jobs posted so far end soon with CANCELLED.
Napi::Value Solver::Cancel(const Napi::CallbackInfo& info) {
  if (worker_ && !closed_) state_->CancelUpTo(worker_->newest());
  return info.Env().Undefined();
}

// close(): cancels what runs, rejects what waits, frees the solver, joins the thread.
Napi::Value Solver::Close(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (closed_ || !worker_) {
    closed_ = true;
    return Resolved(env);
  }
  std::unique_ptr<Job> job = std::move(last_);
  job->op = "solver.close";
  job->last = true;
  job->settled = [this](Napi::Env e) {
    Napi::MemoryManagement::AdjustExternalMemory(e, -external_bytes_);
    external_bytes_ = 0;
    Unref();
  };
  Ref();
  closed_ = true;
  Napi::Value promise = worker_->Post(env, std::move(job));
  state_->CancelUpTo(UINT64_MAX);
  return promise;
}

}  // namespace bellows
