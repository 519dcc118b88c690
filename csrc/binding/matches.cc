#include "matches.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "convert.h"
#include "errors.h"
#include "worker.h"

namespace bellows {

namespace {

constexpr char kSignature[] = "match({game, players, openings, first, games, limit, seed, threads})";

struct Player {
  std::string kind, game;
  std::vector<Entry> entries;
  Bytes file;
  int64_t strength = 0, simulations = 0;
  bool argmax = false;
  double temperature = 1;
};

// What the match's thread and the JavaScript thread share.
struct MatchState {
  std::string game;
  Player players[2];
  std::vector<std::string> openings;
  int64_t first = 0, games = 0;
  int limit = 0;
  uint64_t seed = 0;
  int threads = 0;
  std::atomic<bool> stop{false};
  std::atomic<int64_t> done{0};
  Bytes results, plies, moves;
};

// A number of an object; false where it has none.
bool ReadNumber(Napi::Object object, const char* key, double* number) {
  Napi::Value value = object.Get(key);
  if (!value.IsNumber()) return false;
  *number = value.As<Napi::Number>().DoubleValue();
  return true;
}

bool ReadText(Napi::Object object, const char* key, std::string* text) {
  Napi::Value value = object.Get(key);
  if (!value.IsString()) return false;
  *text = value.As<Napi::String>().Utf8Value();
  return true;
}

// *status: of copying the file. False where the value has another form.
bool ReadPlayer(Napi::Value value, Player* player, bw_status* status, bw_error* error) {
  double number = 0;
  if (!value.IsObject()) return false;
  Napi::Object object = value.As<Napi::Object>();
  if (!ReadText(object, "kind", &player->kind)) return false;
  if (player->kind != "policy") {
    if (!ReadNumber(object, "strength", &number)) return false;
    player->strength = static_cast<int64_t>(number);
    return true;
  }
  Napi::Value file = object.Get("file"), argmax = object.Get("argmax");
  if (!ReadText(object, "game", &player->game) || !file.IsTypedArray() || !argmax.IsBoolean() ||
      !ReadNumber(object, "temperature", &player->temperature) || !ReadNumber(object, "simulations", &number) ||
      !ReadEntries(object.Get("entries"), &player->entries)) {
    return false;
  }
  player->simulations = static_cast<int64_t>(number);
  player->argmax = argmax.As<Napi::Boolean>().Value();
  *status = player->file.Copy(file.As<Napi::TypedArray>(), "match", error);
  return true;
}

bw_status Play(MatchState& m, bw_error* error) {
  bw_match_request request{};
  BW_TRY(CheckText(m.game, "match", "game.name", error));
  request.game = m.game.c_str();
  for (int i = 0; i < 2; ++i) {
    Player& player = m.players[i];
    bw_player_spec& spec = request.players[i];
    BW_TRY(CheckText(player.kind, "match", "kind", error));
    spec.kind = player.kind.c_str();
    spec.strength = player.strength;
    if (player.kind != "policy") continue;
    const bw_status status = Resolve(player.game, player.entries, &spec.config, error);
    if (status != BW_OK) {
      error->step = i;
      return status;
    }
    spec.file = player.file.data;
    spec.file_bytes = player.file.size;
    spec.argmax = player.argmax;
    spec.temperature = player.temperature;
    spec.simulations = player.simulations;
  }
  std::vector<const char*> openings;
  openings.reserve(m.openings.size());
  for (const std::string& opening : m.openings) {
    BW_TRY(CheckText(opening, "match", "openings", error));
    openings.push_back(opening.c_str());
  }
  int index = 0;
  BW_TRY(bw_game_find(request.game, &index, error));
  const size_t games = m.games > 0 ? static_cast<size_t>(m.games) : 0;
  BW_TRY(m.results.Allocate(games, "match", error));
  BW_TRY(m.plies.Allocate(games, "match", error));
  BW_TRY(m.moves.Allocate(games * static_cast<size_t>(bw_game_at(index)->max_plies), "match", error));
  request.openings = openings.data();
  request.opening_count = static_cast<int64_t>(openings.size());
  request.first = m.first;
  request.games = m.games;
  request.limit = m.limit;
  request.seed = m.seed;
  request.threads = m.threads;
  request.cancelled = [](void* state) { return static_cast<MatchState*>(state)->stop.load(); };
  request.progress = [](void* state, int64_t done) { static_cast<MatchState*>(state)->done = done; };
  request.context = &m;
  return bw_match_run(&request, m.results.data, m.plies.data, reinterpret_cast<char*>(m.moves.data), error);
}

Napi::Object PlayedObject(Napi::Env env, MatchState& m) {
  Napi::Object object = Napi::Object::New(env);
  const struct {
    const char* key;
    Bytes& bytes;
  } columns[] = {{"results", m.results}, {"plies", m.plies}, {"moves", m.moves}};
  for (const auto& column : columns) {
    const size_t size = column.bytes.size;
    object.Set(column.key, OwnedBuffer(env, column.bytes.Release(), size));
  }
  return object;
}

}  // namespace

Napi::Value Match(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsObject()) return WrongArguments(env, kSignature);
  Napi::Object asked = info[0].As<Napi::Object>();
  auto m = std::make_shared<MatchState>();
  double first = 0, games = 0, limit = 0, seed = 0, threads = 0;
  Napi::Value players = asked.Get("players");
  if (!ReadText(asked, "game", &m->game) || !ReadNumber(asked, "first", &first) ||
      !ReadNumber(asked, "games", &games) || !ReadNumber(asked, "limit", &limit) || !ReadNumber(asked, "seed", &seed) ||
      !ReadNumber(asked, "threads", &threads) || !players.IsArray()) {
    return WrongArguments(env, kSignature);
  }
  if (!ReadStrings(asked.Get("openings"), &m->openings)) return env.Undefined();
  bw_status status = BW_OK;
  bw_error error{};
  for (uint32_t i = 0; i < 2 && status == BW_OK; ++i) {
    if (ReadPlayer(players.As<Napi::Array>().Get(i), &m->players[i], &status, &error)) continue;
    return env.IsExceptionPending() ? env.Undefined() : WrongArguments(env, kSignature);
  }
  m->first = static_cast<int64_t>(first);
  m->games = static_cast<int64_t>(games);
  m->limit = static_cast<int>(limit);
  m->seed = static_cast<uint64_t>(seed);
  m->threads = static_cast<int>(threads);
  Napi::Object match = Napi::Object::New(env);
  match.Set("done", Napi::Function::New(env, [m](const Napi::CallbackInfo& call) -> Napi::Value {
              return Napi::Number::New(call.Env(), static_cast<double>(m->done.load()));
            }));
  match.Set("cancel", Napi::Function::New(env, [m](const Napi::CallbackInfo&) { m->stop = true; }));
  if (status != BW_OK) {
    match.Set("result", Rejected(env, ErrorObject(env, status, error)));
    return match;
  }
  auto job = MakeJob<std::shared_ptr<MatchState>>(
      "match",
      [m](std::shared_ptr<MatchState>& out, bw_error* failed) -> bw_status {
        out = m;
        return Play(*m, failed);
      },
      [](Napi::Env e, std::shared_ptr<MatchState>& out) { return PlayedObject(e, *out); });
  match.Set("result", Alone(env, std::move(job), [m] { m->stop = true; }));
  return match;
}

}  // namespace bellows
