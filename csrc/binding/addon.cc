// The addon: what needs no engine, and the door to class Engine. Converts and queues, never computes.
#include "js.h"

#ifndef _WIN32
#include <sys/file.h>
#endif
#ifdef __APPLE__
#include <dlfcn.h>
#endif

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "benches.h"
#include "convert.h"
#include "engine.h"
#include "errors.h"
#include "matches.h"
#include "solver.h"
#include "worker.h"

namespace bellows {

namespace {

Napi::Object InfoObject(Napi::Env env, const bw_info& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("isa", info.isa);
  object.Set("isasAvailable", info.isas_available);
  object.Set("cpu", info.cpu);
  object.Set("cpuFamily", info.cpu_family);
  object.Set("cpuModel", info.cpu_model);
  object.Set("threads", info.hardware_threads);
  object.Set("memory", static_cast<double>(info.memory_bytes));
  Napi::Array devices = Napi::Array::New(env, 3);
  for (uint32_t i = 0; i < 3; ++i) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("name", info.devices[i].name);
    device.Set("available", info.devices[i].available);
    device.Set("reason", info.devices[i].reason);
    devices.Set(i, device);
  }
  object.Set("devices", devices);
  object.Set("gflops", info.peak_gflops);
  object.Set("gflopsBf16", info.peak_gflops_bf16);
  object.Set("gbytes", info.peak_gbytes);
  return object;
}

// info(measurePeaks)
Napi::Value Info(const Napi::CallbackInfo& info) {
  if (!info[0].IsBoolean()) return WrongArguments(info.Env(), "info(measurePeaks)");
  bool measure = info[0].As<Napi::Boolean>().Value();
  return Alone(info.Env(),
               MakeJob<bw_info>(
                   "info", [measure](bw_info& out, bw_error* error) { return bw_library_info(measure, &out, error); },
                   [](Napi::Env e, bw_info& out) { return InfoObject(e, out); }),
               nullptr);
}

// resolve(game, entries): {ok, entries} | {ok, error}
Napi::Value ResolveOptions(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<Entry> entries;
  if (!info[0].IsString()) return WrongArguments(env, "resolve(game, entries)");
  if (!ReadEntries(info[1], &entries)) return env.Undefined();
  bw_config config;
  bw_error error{};
  bw_status status = Resolve(info[0].As<Napi::String>().Utf8Value(), entries, &config, &error);
  if (status != BW_OK) return Failure(env, status, error);
  return Success(env, "entries", ConfigObject(env, config));
}

// plan(game, entries): {ok, rows} | {ok, error}
Napi::Value Plan(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<Entry> entries;
  if (!info[0].IsString()) return WrongArguments(env, "plan(game, entries)");
  if (!ReadEntries(info[1], &entries)) return env.Undefined();
  bw_config config;
  bw_error error{};
  bw_status status = Resolve(info[0].As<Napi::String>().Utf8Value(), entries, &config, &error);
  if (status != BW_OK) return Failure(env, status, error);
  bw_plan_row* rows = nullptr;
  int count = 0;
  status = bw_selfplay_plan(&config, &rows, &count, &error);
  if (status != BW_OK) return Failure(env, status, error);
  Napi::Array array = Napi::Array::New(env, static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    Napi::Object row = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, static_cast<size_t>(rows[i].rank));
    for (int d = 0; d < rows[i].rank; ++d) {
      shape.Set(static_cast<uint32_t>(d), static_cast<double>(rows[i].shape[d]));
    }
    row.Set("group", rows[i].group);
    row.Set("name", rows[i].name);
    row.Set("dtype", rows[i].dtype);
    row.Set("shape", shape);
    row.Set("bytes", static_cast<double>(rows[i].bytes));
    array.Set(static_cast<uint32_t>(i), row);
  }
  free(rows);
  return Success(env, "rows", array);
}

Napi::Value Games(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int count = bw_game_count();
  Napi::Array array = Napi::Array::New(env, static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const bw_game* game = bw_game_at(i);
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", game->name);
    object.Set("title", game->title);
    object.Set("actions", game->actions);
    object.Set("rows", game->rows);
    object.Set("cols", game->cols);
    object.Set("planes", game->observers[BW_OBSERVE_STONES].planes);
    object.Set("inputs", game->observers[BW_OBSERVE_STONES].inputs);
    object.Set("maxPlies", game->max_plies);
    array.Set(static_cast<uint32_t>(i), object);
  }
  return array;
}

bw_status FindGame(const std::string& name, int* index, bw_error* error) {
  BW_TRY(CheckText(name, "game", "game.name", error));
  return bw_game_find(name.c_str(), index, error);
}

struct alignas(16) State {
  unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
};

// position(game, moves): {ok, position: {board, ply, result, legal: [{action, symbol}], canonical}} | {ok, error}
Napi::Value Position(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString()) return WrongArguments(env, "position(game, moves)");
  bw_error error{};
  int index = 0;
  bw_status status = FindGame(info[0].As<Napi::String>().Utf8Value(), &index, &error);
  if (status != BW_OK) return Failure(env, status, error);
  const bw_game* game = bw_game_at(index);
  State state{};
  std::string moves = info[1].As<Napi::String>().Utf8Value();
  status = CheckText(moves, "position", "moves", &error);
  if (status == BW_OK) status = bw_game_parse(game, moves.c_str(), state.bytes, &error);
  if (status != BW_OK) return Failure(env, status, error);
  char board[2048];
  bw_game_print(game, state.bytes, board, sizeof board);
  Napi::Object position = Napi::Object::New(env);
  position.Set("board", board);
  position.Set("ply", game->ply(state.bytes));
  position.Set("result", game->result(state.bytes));
  Napi::Array legal = Napi::Array::New(env);
  uint32_t mask = game->legal(state.bytes);
  for (int action = 0; action < game->actions; ++action) {
    if (!(mask >> action & 1u)) continue;
    char symbol[2] = {static_cast<char>(game->symbol(action)), 0};
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("action", action);
    entry.Set("symbol", symbol);
    legal.Set(legal.Length(), entry);
  }
  position.Set("legal", legal);
  State mirrored = state;
  game->mirror(mirrored.bytes);
  const uint64_t keys[2] = {game->key(state.bytes), game->key(mirrored.bytes)};
  position.Set("canonical", std::to_string(keys[0] < keys[1] ? keys[0] : keys[1]));
  return Success(env, "position", position);
}

// Perft that can be cancelled between subtrees.
uint64_t Perft(const bw_game* game, const State& state, int depth, const std::atomic<bool>& stop) {
  constexpr int kUncancelled = 6;
  if (depth <= kUncancelled) return bw_game_perft(game, state.bytes, depth);
  uint64_t nodes = 0;
  uint32_t legal = game->legal(state.bytes);
  for (int action = 0; action < game->actions && !stop; ++action) {
    if (!(legal >> action & 1u)) continue;
    State next = state;
    game->play(next.bytes, action);
    nodes += Perft(game, next, depth - 1, stop);
  }
  return nodes;
}

// perft(game, depth)
Napi::Value PerftOf(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsNumber()) return WrongArguments(env, "perft(game, depth)");
  std::string name = info[0].As<Napi::String>().Utf8Value();
  int depth = info[1].As<Napi::Number>().Int32Value();
  auto stop = std::make_shared<std::atomic<bool>>(false);
  return Alone(env,
               MakeJob<uint64_t>(
                   "perft",
                   [name, depth, stop](uint64_t& nodes, bw_error* error) -> bw_status {
                     int index = 0;
                     BW_TRY(FindGame(name, &index, error));
                     State state{};
                     bw_game_at(index)->init(state.bytes);
                     nodes = Perft(bw_game_at(index), state, depth, *stop);
                     return BW_OK;
                   },
                   [](Napi::Env e, uint64_t& nodes) { return Napi::Number::New(e, static_cast<double>(nodes)); }),
               [stop] { *stop = true; });
}

// inspect(bytes): what a safetensors file says, {ok, file: {metadata, tensors}} | {ok, error}
Napi::Value Inspect(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsTypedArray()) return WrongArguments(env, "inspect(bytes)");
  Napi::TypedArray view = info[0].As<Napi::TypedArray>();
  const uint8_t* bytes = static_cast<const uint8_t*>(view.ArrayBuffer().Data()) + view.ByteOffset();
  bw_safetensors file{};
  bw_error error{};
  bw_status status = bw_safetensors_parse(bytes, view.ByteLength(), &file, &error);
  if (status != BW_OK) return Failure(env, status, error);
  Napi::Object object = FileObject(env, file, bytes);
  bw_safetensors_free(&file);
  return Success(env, "file", object);
}

// member(weights): a pool member as a safetensors file, {ok, bytes} | {ok, error}
Napi::Value EncodeMember(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    return WrongArguments(env, "member(Float32Array)");
  }
  Napi::Float32Array weights = info[0].As<Napi::Float32Array>();
  bw_tensor tensor{};
  tensor.name = "weights";
  tensor.dtype = BW_F32;
  tensor.rank = 1;
  tensor.shape[0] = static_cast<int64_t>(weights.ElementLength());
  tensor.data = weights.Data();
  tensor.bytes = weights.ByteLength();
  uint8_t* bytes = nullptr;
  size_t size = 0;
  bw_error error{};
  bw_status status = bw_safetensors_write(&tensor, 1, nullptr, 0, &bytes, &size, &error);
  if (status != BW_OK) return Failure(env, status, error);
  return Success(env, "bytes", OwnedBuffer(env, bytes, size));
}

using Function = Napi::Value (*)(const Napi::CallbackInfo&);

// lockFile(fd, exclusive): the kernel's lock of an open file, which it takes back when the process dies. Whether it was
// free; null where the platform or the file system has none.
Napi::Value LockFile(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsBoolean()) return WrongArguments(env, "lockFile(fd, exclusive)");
#ifdef _WIN32
  return env.Null();
#else
  int fd = info[0].As<Napi::Number>().Int32Value();
  int kind = info[1].As<Napi::Boolean>().Value() ? LOCK_EX : LOCK_SH;
  int done = 0;
  do {
    done = flock(fd, kind | LOCK_NB);
  } while (done != 0 && errno == EINTR);
  if (done != 0 && errno != EWOULDBLOCK) return env.Null();
  return Napi::Boolean::New(env, done == 0);
#endif
}

// clock(): the engine's clock in ns, that of a trace's events.
Napi::Value Clock(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bw_now_ns()));
}

// The doors that JavaScript uses; the function's name is its data.
template <Function function>
Napi::Value Promises(const Napi::CallbackInfo& info) {
  return OrReject(info.Env(), static_cast<const char*>(info.Data()), [&] { return function(info); });
}
template <Function function>
Napi::Value Gives(const Napi::CallbackInfo& info) {
  return OrFailure(info.Env(), static_cast<const char*>(info.Data()), [&] { return function(info); });
}

template <Function door>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<door>(env, name, const_cast<char*>(name)));
}

}  // namespace

#ifdef __APPLE__
// Keeps this library in memory when Node drops it with its last environment: its exit handlers are called later.
// Elsewhere the linker is told so.
static void StayLoaded() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&StayLoaded), &self) == 0) return;
  dlopen(self.dli_fname, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
}
#endif

static Napi::Value Initialize(Napi::Env env, Napi::Object exports) {
#ifdef __APPLE__
  StayLoaded();
#endif
  if (!Host::Install(env)) return Napi::Value();
  Engine::Define(env, exports);
  Solver::Define(env, exports);
  exports.Set("version", bw_version());
  Export<Promises<Info>>(env, exports, "info");
  Export<Gives<ResolveOptions>>(env, exports, "resolve");
  Export<Gives<Plan>>(env, exports, "plan");
  Export<Games>(env, exports, "games");
  Export<Gives<Position>>(env, exports, "position");
  Export<Promises<PerftOf>>(env, exports, "perft");
  Export<Gives<Inspect>>(env, exports, "inspect");
  Export<Gives<EncodeMember>>(env, exports, "member");
  Export<LockFile>(env, exports, "lockFile");
  Export<BenchCases>(env, exports, "benchCases");
  Export<Promises<BenchRun>>(env, exports, "benchRun");
  Export<Gives<BenchRow>>(env, exports, "benchRow");
  Export<Clock>(env, exports, "clock");
  Export<Gives<Match>>(env, exports, "match");
  return exports;
}

}  // namespace bellows

// At global scope: the macro pastes the name of the function.
static Napi::Object InitializeAddon(Napi::Env env, Napi::Object exports) {
  return bellows::OrThrow(env, "load", [&] { return bellows::Initialize(env, exports); }).As<Napi::Object>();
}
NODE_API_MODULE(bellows, InitializeAddon)
