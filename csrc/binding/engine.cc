#include "engine.h"

#include <atomic>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "../core/pool.h"
#include "convert.h"

namespace bellows {

// What the engine's thread and the JavaScript thread share.
struct EngineState {
  bw_selfplay* run = nullptr;  // made, used and destroyed on the engine's thread

  // Guards the fields below, and `run` against its end while another thread cancels.
  std::mutex mutex;
  uint64_t cancelled = 0;  // jobs with a ticket up to this one are cancelled
  bw_prof profile{};       // as the last job left it, for readers on the JavaScript thread
  bw_roof roof{};          // likewise
  bw_precision precision = BW_PRECISION_FP32;

  void CancelUpTo(uint64_t ticket) {
    std::lock_guard<std::mutex> lock(mutex);
    if (ticket > cancelled) cancelled = ticket;
    if (run) bw_selfplay_cancel(run);
  }

  bool IsCancelled(uint64_t ticket) {
    std::lock_guard<std::mutex> lock(mutex);
    return ticket <= cancelled;
  }

  void Destroy() {
    bw_selfplay* gone;
    {
      std::lock_guard<std::mutex> lock(mutex);
      gone = run;
      run = nullptr;
    }
    bw_selfplay_destroy(gone);
  }

  void Snapshot() {
    const bw_prof* now = bw_selfplay_profile(run);
    std::lock_guard<std::mutex> lock(mutex);
    if (!now) return;
    profile = *now;
    profile.timeline = nullptr;  // belongs to the engine's thread
    roof = *bw_selfplay_roof(run);
    precision = static_cast<bw_precision>(bw_selfplay_config(run)->run_precision);
  }
};

namespace {

bw_status Cancelled(bw_error* error, const char* op) { return bw_fail(error, BW_CANCELLED, op, "cancelled"); }

struct Started {
  bw_config config;
  uint64_t bytes = 0;
  int64_t parameters = 0;
  std::vector<bw_tensor_info> tensors;
};

struct Positions {
  std::vector<std::string> moves;
  int actions = 0;
  std::vector<float> logits, probabilities, values;
  std::vector<uint8_t> terminal;
};

struct Member {
  int64_t snapshot = 0;
  Bytes weights;
};

struct Seats {
  bw_shares seat[2];
};

Napi::Float32Array Floats(Napi::Env env, const std::vector<float>& values) {
  Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
  if (!values.empty() && !array.IsEmpty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(float));
  return array;
}

Napi::Object StartedObject(Napi::Env env, const Started& started) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("entries", ConfigObject(env, started.config));
  object.Set("bytes", static_cast<double>(started.bytes));
  object.Set("parameters", static_cast<double>(started.parameters));
  Napi::Array tensors = Napi::Array::New(env);
  for (const bw_tensor_info& info : started.tensors) {
    Napi::Object tensor = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, static_cast<size_t>(info.rank));
    for (int d = 0; d < info.rank; ++d) shape.Set(static_cast<uint32_t>(d), static_cast<double>(info.shape[d]));
    tensor.Set("name", info.name);
    tensor.Set("shape", shape);
    tensor.Set("offset", static_cast<double>(info.offset));
    tensors.Set(tensors.Length(), tensor);
  }
  object.Set("tensors", tensors);
  return object;
}

}  // namespace

// ---- the class ----

// What JavaScript calls: a method that gives a promise. (cancel and profile do not, and take no memory.)
template <Napi::Value (Engine::*method)(const Napi::CallbackInfo&)>
napi_value Engine::Call(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  void* engine = nullptr;
  if (napi_unwrap(env, info.This(), &engine) != napi_ok) return WrongArguments(env, "a method of Engine");
  return OrReject(env, static_cast<const char*>(info.Data()),
                  [&] { return (static_cast<Engine*>(engine)->*method)(info); });
}

napi_value Engine::Construct(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  if (!info.IsConstructCall()) return WrongArguments(env, "new Engine()");
  return OrThrow(env, "selfplay.create", [&]() -> Napi::Value {
    auto engine = std::make_unique<Engine>();
    napi_ref object = nullptr;
    napi_finalize finalize = [](napi_env e, void* data, void*) {
      std::unique_ptr<Engine> gone(static_cast<Engine*>(data));
      Napi::MemoryManagement::AdjustExternalMemory(e, -gone->external_bytes_);  // 0 when it was closed
    };
    if (napi_wrap(env, info.This(), engine.get(), finalize, nullptr, &object) != napi_ok) {
      return WrongArguments(env, "new Engine(): its object cannot be wrapped");
    }
    engine.release()->object_ = Napi::ObjectReference(env, object);
    return info.This();
  });
}

void Engine::Define(Napi::Env env, Napi::Object exports) {
#define METHOD(name, method)                                                                       \
  napi_property_descriptor {                                                                       \
    name, nullptr, &Engine::Call<&Engine::method>, nullptr, nullptr, nullptr, napi_default_method, \
        const_cast<char*>("selfplay." name)                                                        \
  }
  const napi_property_descriptor methods[] = {
      METHOD("start", Start),
      METHOD("iterate", Iterate),
      METHOD("certify", Certify),
      METHOD("versusRandom", VersusRandom),
      METHOD("policy", Policy),
      METHOD("save", Save),
      METHOD("load", Load),
      METHOD("poolSnapshots", PoolSnapshots),
      METHOD("poolGet", PoolGet),
      METHOD("poolPut", PoolPut),
      METHOD("setStarts", SetStarts),
      METHOD("pin", Pin),
      METHOD("weights", Weights),
      METHOD("counters", Counters),
      METHOD("measureRoof", MeasureRoof),
      METHOD("profile", Profile),
      METHOD("profileReset", ProfileReset),
      METHOD("traceStart", TraceStart),
      METHOD("traceTake", TraceTake),
      METHOD("traceStop", TraceStop),
      METHOD("cancel", Cancel),
      METHOD("close", Close),
  };
#undef METHOD
  napi_value constructor = nullptr;
  napi_define_class(env, "Engine", NAPI_AUTO_LENGTH, &Engine::Construct, nullptr, std::size(methods), methods,
                    &constructor);
  exports.Set("Engine", constructor);
}

Engine::Engine() : state_(std::make_shared<EngineState>()) {}

// Reached by garbage collection of an engine that nobody closed (nothing is pending then: a pending job holds the
// object), or at the end of the environment (the worker is stopped by then).
Engine::~Engine() {
  if (worker_) worker_->Stop();
}

Napi::Value Engine::Post(Napi::Env env, std::unique_ptr<Job> job) {
  if (closed_) return Rejected(env, ClosedObject(env, job->op));
  if (!worker_) {
    bw_error error{};
    bw_fail(&error, BW_STATE, job->op, "the engine is not started");
    return Rejected(env, ErrorObject(env, BW_STATE, error));
  }
  std::shared_ptr<EngineState> state = state_;
  const char* op = job->op;
  job->run = [state, op, run = std::move(job->run)](bw_error* error) -> bw_status {
    if (!state->run) return bw_fail(error, BW_STATE, op, "the engine was not created");
    bw_status status = run(error);
    state->Snapshot();
    return status;
  };
  return Send(env, std::move(job));
}

Napi::Value Engine::Send(Napi::Env env, std::unique_ptr<Job> job) {
  job->settled = [this](Napi::Env) { Unref(); };
  Ref();
  return worker_->Post(env, std::move(job));
}

// start(game, entries): makes the run. Everything that allocates happens on the engine's thread.
Napi::Value Engine::Start(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const char* op = "selfplay.create";
  std::vector<Entry> entries;
  if (info.Length() != 2 || !info[0].IsString()) return WrongArguments(env, "start(game, entries)");
  if (!ReadEntries(info[1], &entries)) return env.Undefined();
  if (closed_) return Rejected(env, ClosedObject(env, op));
  bw_error error{};
  if (worker_) {
    bw_fail(&error, BW_STATE, op, "the engine is already started");
    return Rejected(env, ErrorObject(env, BW_STATE, error));
  }
  std::shared_ptr<EngineState> state = state_;
  std::string game = info[0].As<Napi::String>().Utf8Value();
  auto job = MakeJob<Started>(
      op,
      [state, game, entries](Started& started, bw_error* e) -> bw_status {
        BW_TRY(Resolve(game, entries, &started.config, e));
        bw_plan_row* rows = nullptr;
        int count = 0;
        BW_TRY(bw_selfplay_plan(&started.config, &rows, &count, e));
        for (int i = 0; i < count; ++i) started.bytes += rows[i].bytes;
        free(rows);
        bw_selfplay* made = nullptr;
        BW_TRY(bw_selfplay_create(&started.config, &made, e));
        std::unique_ptr<bw_selfplay, void (*)(bw_selfplay*)> run(made, bw_selfplay_destroy);
        started.config = *bw_selfplay_config(made);
        started.parameters = bw_selfplay_parameter_count(made);
        for (int i = 0; i < bw_selfplay_tensor_count(made); ++i) started.tensors.push_back(bw_selfplay_tensor(made, i));
        std::lock_guard<std::mutex> lock(state->mutex);
        state->run = run.release();
        return BW_OK;
      },
      [this](Napi::Env e, Started& started) -> Napi::Value {
        external_bytes_ = static_cast<int64_t>(started.bytes);
        Napi::MemoryManagement::AdjustExternalMemory(e, external_bytes_);
        return StartedObject(e, started);
      });
  auto last = std::make_unique<Job>();
  // A cancel without a ticket (from Stop) ends whatever runs.
  worker_ = Worker::Start(
      env, [state] { state->CancelUpTo(UINT64_MAX); }, [state] { state->Destroy(); });
  if (!worker_) return Rejected(env, ErrorObject(env, bw_fail_thread(&error, op, 1, 1), error));
  last_ = std::move(last);
  return Send(env, std::move(job));
}

// iterate(progress)
Napi::Value Engine::Iterate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return WrongArguments(env, "iterate(progress)");
  double progress = info[0].As<Napi::Number>().DoubleValue();
  std::shared_ptr<EngineState> state = state_;
  uint64_t ticket = worker_ ? worker_->newest() + 1 : 0;
  return Post(env, MakeJob<bw_iteration>(
                       "selfplay.iterate",
                       [state, progress, ticket](bw_iteration& out, bw_error* error) -> bw_status {
                         {
                           // A cancel comes before this, and is seen here, or after it, and the engine sees it.
                           std::lock_guard<std::mutex> lock(state->mutex);
                           if (ticket <= state->cancelled) return Cancelled(error, "selfplay.iterate");
                           bw_selfplay_clear_cancel(state->run);
                         }
                         return bw_selfplay_iterate(state->run, progress, &out, error);
                       },
                       [](Napi::Env e, bw_iteration& out) { return IterationObject(e, out); }));
}

Napi::Value Engine::Certify(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(),
              MakeJob<bw_certificate>(
                  "selfplay.certify",
                  [state](bw_certificate& certificate, bw_error* error) {
                    return bw_selfplay_certify(state->run, &certificate, error);
                  },
                  [](Napi::Env e, bw_certificate& certificate) { return CertificateObject(e, certificate); }));
}

// versusRandom(games, argmax)
Napi::Value Engine::VersusRandom(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsBoolean()) return WrongArguments(env, "versusRandom(games, argmax)");
  int64_t games = info[0].As<Napi::Number>().Int64Value();
  bool argmax = info[1].As<Napi::Boolean>().Value();
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<Seats>(
                       "selfplay.versusRandom",
                       [state, games, argmax](Seats& seats, bw_error* error) {
                         return bw_selfplay_versus_random(state->run, games, argmax, &seats.seat[0], &seats.seat[1],
                                                          error);
                       },
                       [](Napi::Env e, Seats& seats) {
                         Napi::Object object = Napi::Object::New(e);
                         object.Set("first", SharesObject(e, seats.seat[0]));
                         object.Set("second", SharesObject(e, seats.seat[1]));
                         return object;
                       }));
}

// policy(moves[]): the results of all positions, one after the other. An error carries the position's index as step.
Napi::Value Engine::Policy(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<std::string> moves;
  if (!ReadStrings(info[0], &moves)) return env.Undefined();
  std::shared_ptr<EngineState> state = state_;
  uint64_t ticket = worker_ ? worker_->newest() + 1 : 0;
  return Post(env, MakeJob<Positions>(
                       "selfplay.policy",
                       [state, moves, ticket](Positions& out, bw_error* error) -> bw_status {
                         size_t actions = static_cast<size_t>(bw_selfplay_game(state->run)->actions);
                         out.actions = static_cast<int>(actions);
                         out.logits.resize(moves.size() * actions);
                         out.probabilities.resize(moves.size() * actions);
                         out.values.resize(moves.size());
                         out.terminal.resize(moves.size());
                         for (size_t i = 0; i < moves.size(); ++i) {
                           if (state->IsCancelled(ticket)) return Cancelled(error, "selfplay.policy");
                           int terminal = 0;
                           bw_status status = CheckText(moves[i], "selfplay.policy", "moves", error);
                           if (status == BW_OK) {
                             status = bw_selfplay_policy(state->run, moves[i].c_str(), out.logits.data() + i * actions,
                                                         out.probabilities.data() + i * actions, out.values.data() + i,
                                                         &terminal, error);
                           }
                           if (status != BW_OK) {
                             error->step = static_cast<int64_t>(i);
                             return status;
                           }
                           out.terminal[i] = terminal ? 1 : 0;
                         }
                         return BW_OK;
                       },
                       [](Napi::Env e, Positions& out) {
                         Napi::Object object = Napi::Object::New(e);
                         object.Set("actions", out.actions);
                         object.Set("logits", Floats(e, out.logits));
                         object.Set("probabilities", Floats(e, out.probabilities));
                         object.Set("values", Floats(e, out.values));
                         Napi::Uint8Array terminal = Napi::Uint8Array::New(e, out.terminal.size());
                         if (!out.terminal.empty() && !terminal.IsEmpty()) {
                           std::memcpy(terminal.Data(), out.terminal.data(), out.terminal.size());
                         }
                         object.Set("terminal", terminal);
                         return object;
                       }));
}

// save(what, [[key, value]]): an ArrayBuffer of safetensors. what: "bundle", the state; "state", the same without the
// opponents' weights; "policy", the weights alone.
Napi::Value Engine::Save(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsArray()) return WrongArguments(env, "save(what, [[key, value]])");
  std::string what = info[0].As<Napi::String>().Utf8Value();
  std::vector<std::pair<std::string, std::string>> extra;
  Napi::Array pairs = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < pairs.Length(); ++i) {
    std::vector<std::string> pair;
    if (!ReadStrings(pairs.Get(i), &pair)) return env.Undefined();
    if (pair.size() != 2) return WrongArguments(env, "save(what, [[key, value]])");
    extra.emplace_back(pair[0], pair[1]);
  }
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<Bytes>(
                       "selfplay.save",
                       [state, what, extra](Bytes& bytes, bw_error* error) -> bw_status {
                         std::vector<bw_metadata> metadata;
                         for (const auto& pair : extra) {
                           BW_TRY(CheckText(pair.first, "selfplay.save", "metadata", error));
                           BW_TRY(CheckText(pair.second, "selfplay.save", pair.first.c_str(), error));
                           metadata.push_back({pair.first.c_str(), pair.second.c_str()});
                         }
                         const int count = static_cast<int>(metadata.size());
                         if (what == "policy") {
                           return bw_selfplay_save_policy(state->run, metadata.data(), count, &bytes.data, &bytes.size,
                                                          error);
                         }
                         return bw_selfplay_save(state->run, what == "bundle", metadata.data(), count, &bytes.data,
                                                 &bytes.size, error);
                       },
                       [](Napi::Env e, Bytes& bytes) { return OwnedBuffer(e, bytes.Release(), bytes.size); }));
}

// load(bytes)
Napi::Value Engine::Load(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsTypedArray()) return WrongArguments(env, "load(bytes)");
  auto bytes = std::make_shared<Bytes>();
  bw_error refusal{};
  bw_status status = bytes->Copy(info[0].As<Napi::TypedArray>(), "selfplay.load", &refusal);
  if (status != BW_OK) return Rejected(env, ErrorObject(env, status, refusal));
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<int>(
                       "selfplay.load",
                       [state, bytes](int&, bw_error* error) {
                         return bw_selfplay_load(state->run, bytes->data, bytes->size, error);
                       },
                       [](Napi::Env e, int&) { return e.Undefined(); }));
}

// setStarts(moves[]). An error carries the position's index as step.
Napi::Value Engine::SetStarts(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<std::string> moves;
  if (!ReadStrings(info[0], &moves)) return env.Undefined();
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<int>(
                       "selfplay.setStarts",
                       [state, moves](int&, bw_error* error) -> bw_status {
                         std::vector<const char*> texts;
                         for (size_t i = 0; i < moves.size(); ++i) {
                           bw_status status = CheckText(moves[i], "selfplay.setStarts", "moves", error);
                           if (status != BW_OK) {
                             if (error) error->step = static_cast<int64_t>(i);
                             return status;
                           }
                           texts.push_back(moves[i].c_str());
                         }
                         return bw_selfplay_set_starts(state->run, texts.data(), static_cast<int64_t>(texts.size()),
                                                       error);
                       },
                       [](Napi::Env e, int&) { return e.Undefined(); }));
}

// pin(game, entries, bytes): adds a fixed opponent, the net of these options with the weights of a file.
Napi::Value Engine::Pin(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<Entry> entries;
  if (info.Length() != 3 || !info[0].IsString() || !info[2].IsTypedArray()) {
    return WrongArguments(env, "pin(game, entries, bytes)");
  }
  if (!ReadEntries(info[1], &entries)) return env.Undefined();
  std::string game = info[0].As<Napi::String>().Utf8Value();
  auto bytes = std::make_shared<Bytes>();
  bw_error refusal{};
  bw_status copied = bytes->Copy(info[2].As<Napi::TypedArray>(), "selfplay.pin", &refusal);
  if (copied != BW_OK) return Rejected(env, ErrorObject(env, copied, refusal));
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<int>(
                       "selfplay.pin",
                       [state, game, entries, bytes](int&, bw_error* error) -> bw_status {
                         bw_config config;
                         BW_TRY(Resolve(game, entries, &config, error));
                         return bw_selfplay_pin(state->run, &config, bytes->data, bytes->size, error);
                       },
                       [](Napi::Env e, int&) { return e.Undefined(); }));
}

// poolSnapshots(): the snapshot numbers of the pool, slot by slot.
Napi::Value Engine::PoolSnapshots(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<std::vector<int64_t>>(
                              "selfplay.poolSnapshots",
                              [state](std::vector<int64_t>& snapshots, bw_error* error) -> bw_status {
                                int count = bw_selfplay_pool_count(state->run);
                                snapshots.reserve(static_cast<size_t>(count));
                                for (int slot = 0; slot < count; ++slot) {
                                  int64_t snapshot = 0;
                                  const float* weights = nullptr;
                                  BW_TRY(bw_selfplay_pool_get(state->run, slot, &snapshot, &weights, error));
                                  snapshots.push_back(snapshot);
                                }
                                return BW_OK;
                              },
                              [](Napi::Env e, std::vector<int64_t>& snapshots) {
                                Napi::Array array = Napi::Array::New(e, snapshots.size());
                                for (size_t i = 0; i < snapshots.size(); ++i) {
                                  array.Set(static_cast<uint32_t>(i), static_cast<double>(snapshots[i]));
                                }
                                return array;
                              }));
}

// poolGet(slot): {snapshot, weights}, a copy.
Napi::Value Engine::PoolGet(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return WrongArguments(env, "poolGet(slot)");
  int slot = info[0].As<Napi::Number>().Int32Value();
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<Member>(
                       "selfplay.poolGet",
                       [state, slot](Member& member, bw_error* error) -> bw_status {
                         size_t bytes = static_cast<size_t>(bw_selfplay_parameter_count(state->run)) * sizeof(float);
                         BW_TRY(member.weights.Allocate(bytes, "selfplay.poolGet", error));
                         const float* weights = nullptr;
                         BW_TRY(bw_selfplay_pool_get(state->run, slot, &member.snapshot, &weights, error));
                         std::memcpy(member.weights.data, weights, bytes);
                         return BW_OK;
                       },
                       [](Napi::Env e, Member& member) {
                         Napi::Object object = Napi::Object::New(e);
                         object.Set("snapshot", static_cast<double>(member.snapshot));
                         size_t bytes = member.weights.size;
                         Napi::Value buffer = OwnedBuffer(e, member.weights.Release(), bytes);
                         if (!buffer.IsEmpty()) {
                           object.Set("weights", Napi::Float32Array::New(e, bytes / sizeof(float),
                                                                         buffer.As<Napi::ArrayBuffer>(), 0));
                         }
                         return object;
                       }));
}

// poolPut(slot, Float32Array)
Napi::Value Engine::PoolPut(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsTypedArray() ||
      info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    return WrongArguments(env, "poolPut(slot, Float32Array)");
  }
  int slot = info[0].As<Napi::Number>().Int32Value();
  Napi::TypedArray array = info[1].As<Napi::TypedArray>();
  auto weights = std::make_shared<Bytes>();
  bw_error refusal{};
  bw_status status = weights->Copy(array, "selfplay.poolPut", &refusal);
  if (status != BW_OK) return Rejected(env, ErrorObject(env, status, refusal));
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<int>(
                       "selfplay.poolPut",
                       [state, slot, weights](int&, bw_error* error) {
                         return bw_selfplay_pool_put(state->run, slot, reinterpret_cast<const float*>(weights->data),
                                                     static_cast<int64_t>(weights->size / sizeof(float)), error);
                       },
                       [](Napi::Env e, int&) { return e.Undefined(); }));
}

// weights(): a copy of the fp32 weights. A view of the run's own memory could be moved to another ArrayBuffer
// (ArrayBuffer.prototype.transfer, or a worker) that outlives the run.
Napi::Value Engine::Weights(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<Bytes>(
                              "selfplay.weights",
                              [state](Bytes& bytes, bw_error* error) -> bw_status {
                                const float* weights = nullptr;
                                int64_t count = 0;
                                BW_TRY(bw_selfplay_weights(state->run, &weights, &count, error));
                                size_t size = static_cast<size_t>(count) * sizeof(float);
                                BW_TRY(bytes.Allocate(size, "selfplay.weights", error));
                                std::memcpy(bytes.data, weights, size);
                                return BW_OK;
                              },
                              [](Napi::Env e, Bytes& bytes) { return OwnedBuffer(e, bytes.Release(), bytes.size); }));
}

Napi::Value Engine::Counters(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<bw_counters>(
                              "selfplay.counters",
                              [state](bw_counters& counters, bw_error*) {
                                counters = bw_selfplay_counters(state->run);
                                return BW_OK;
                              },
                              [](Napi::Env e, bw_counters& counters) {
                                Napi::Object object = Napi::Object::New(e);
                                object.Set("iteration", static_cast<double>(counters.iteration));
                                object.Set("games", static_cast<double>(counters.games));
                                object.Set("samples", static_cast<double>(counters.samples));
                                object.Set("updates", static_cast<double>(counters.updates));
                                return object;
                              }));
}

// measureRoof(again)
Napi::Value Engine::MeasureRoof(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsBoolean()) return WrongArguments(env, "measureRoof(again)");
  bool again = info[0].As<Napi::Boolean>().Value();
  std::shared_ptr<EngineState> state = state_;
  return Post(env,
              MakeJob<int>(
                  "selfplay.measureRoof",
                  [state, again](int&, bw_error* error) { return bw_selfplay_measure_roof(state->run, again, error); },
                  [](Napi::Env e, int&) { return e.Undefined(); }));
}

// profile(): the spans as the last finished job left them, at once.
Napi::Value Engine::Profile(const Napi::CallbackInfo& info) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("spans", SpansObject(info.Env(), state_->profile));
  object.Set("gflops", bw_roof_gflops(&state_->roof, state_->precision));
  object.Set("raised", state_->roof.raised[state_->precision]);
  object.Set("gbytes", state_->roof.gbytes);
  object.Set("threads", state_->roof.threads);
  object.Set("gflopsFp32", state_->roof.gflops);
  object.Set("gflopsBf16", state_->roof.gflops_bf16);
  Napi::Array caches = Napi::Array::New(info.Env(), BW_ROOF_CACHES);
  for (uint32_t i = 0; i < BW_ROOF_CACHES; ++i) {
    Napi::Object cache = Napi::Object::New(info.Env());
    cache.Set("bytes", static_cast<double>(state_->roof.caches[i].bytes));
    cache.Set("gbytes", state_->roof.caches[i].gbytes);
    caches.Set(i, cache);
  }
  object.Set("caches", caches);
  return object;
}

Napi::Value Engine::ProfileReset(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<int>(
                              "selfplay.profileReset",
                              [state](int&, bw_error*) {
                                bw_selfplay_profile_reset(state->run);
                                return BW_OK;
                              },
                              [](Napi::Env e, int&) { return e.Undefined(); }));
}

// traceStart(capacity): records events from here on, at most so many a thread between two calls of traceTake().
Napi::Value Engine::TraceStart(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return WrongArguments(env, "traceStart(capacity)");
  int64_t capacity = info[0].As<Napi::Number>().Int64Value();
  std::shared_ptr<EngineState> state = state_;
  return Post(env, MakeJob<int>(
                       "selfplay.trace",
                       [state, capacity](int&, bw_error* error) {
                         return bw_selfplay_timeline_start(state->run, capacity, error);
                       },
                       [](Napi::Env e, int&) { return e.Undefined(); }));
}

// traceTake(): the events since the last call, which are then forgotten.
Napi::Value Engine::TraceTake(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<Events>(
                              "selfplay.trace",
                              [state](Events& events, bw_error*) {
                                const bw_timeline* timeline = bw_selfplay_timeline(state->run);
                                if (timeline) events.Copy(*timeline);
                                bw_selfplay_timeline_clear(state->run);
                                return BW_OK;
                              },
                              [](Napi::Env e, Events& events) { return EventsObject(e, events); }));
}

Napi::Value Engine::TraceStop(const Napi::CallbackInfo& info) {
  std::shared_ptr<EngineState> state = state_;
  return Post(info.Env(), MakeJob<int>(
                              "selfplay.trace",
                              [state](int&, bw_error*) {
                                bw_selfplay_timeline_stop(state->run);
                                return BW_OK;
                              },
                              [](Napi::Env e, int&) { return e.Undefined(); }));
}

// cancel(): jobs posted so far that can be cancelled end soon with CANCELLED.
Napi::Value Engine::Cancel(const Napi::CallbackInfo& info) {
  if (worker_ && !closed_) state_->CancelUpTo(worker_->newest());
  return info.Env().Undefined();
}

// close(): cancels what runs, rejects what waits, frees the run, joins the thread.
Napi::Value Engine::Close(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (closed_ || !worker_) {
    closed_ = true;
    return Resolved(env);
  }
  std::unique_ptr<Job> job = std::move(last_);
  job->op = "selfplay.close";
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
