#include "benches.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "../bench/bench.h"
#include "convert.h"
#include "errors.h"
#include "worker.h"

namespace bellows {

namespace {

// A sample is an array of doubles to JavaScript, which only keeps it.
constexpr size_t kDoubles = sizeof(bw_bench_sample) / sizeof(double);
static_assert(sizeof(bw_bench_sample) % sizeof(double) == 0, "a sample holds doubles only");

struct Measured {
  bw_bench_result result{};
  Measured() = default;
  Measured(const Measured&) = delete;
  Measured& operator=(const Measured&) = delete;
  ~Measured() { bw_bench_free(&result); }
};

Napi::Object MeasuredObject(Napi::Env env, const Measured& measured) {
  const size_t count = static_cast<size_t>(measured.result.count);
  Napi::Float64Array samples = Napi::Float64Array::New(env, count * kDoubles);
  if (!samples.IsEmpty()) std::memcpy(samples.Data(), measured.result.samples, count * sizeof(bw_bench_sample));
  Napi::Object object = Napi::Object::New(env);
  object.Set("count", static_cast<double>(count));
  object.Set("samples", samples);
  object.Set("profile", SpansObject(env, measured.result.profile));
  return object;
}

Napi::Object RowObject(Napi::Env env, const bw_bench_row& row) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("median", row.median);
  object.Set("p10", row.p10);
  object.Set("p90", row.p90);
  object.Set("seconds", row.seconds);
  object.Set("gflops", row.gflops);
  object.Set("gbytes", row.gbytes);
  object.Set("roofGflops", row.roof_gflops);
  object.Set("roofGbytes", row.roof_gbytes);
  object.Set("roofFraction", row.roof_fraction);
  object.Set("roofRaised", row.roof_raised);
  object.Set("floorSeconds", row.floor_seconds);
  object.Set("floorRatio", row.floor_ratio);
  object.Set("samples", row.samples);
  object.Set("moves", row.moves);
  object.Set("steps", row.steps);
  object.Set("collectSeconds", row.collect_seconds);
  object.Set("updateSeconds", row.update_seconds);
  return object;
}

}  // namespace

Napi::Value BenchCases(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const int count = bw_bench_count();
  Napi::Array array = Napi::Array::New(env, static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const bw_bench_case* of = bw_bench_at(i);
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", of->name);
    object.Set("shape", of->shape);
    object.Set("unit", of->unit);
    object.Set("seconds", of->seconds);
    object.Set("what", of->what);
    object.Set("steps", of->steps);
    array.Set(static_cast<uint32_t>(i), object);
  }
  return array;
}

Napi::Value BenchRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const char* signature = "benchRun(index, {threads, precision, seconds, warmUp})";
  if (!info[0].IsNumber() || !info[1].IsObject()) return WrongArguments(env, signature);
  const int index = info[0].As<Napi::Number>().Int32Value();
  Napi::Object how = info[1].As<Napi::Object>();
  Napi::Value threads = how.Get("threads"), precision = how.Get("precision"), seconds = how.Get("seconds"),
              warm_up = how.Get("warmUp");
  if (index < 0 || index >= bw_bench_count() || !threads.IsNumber() || !precision.IsString() || !seconds.IsNumber() ||
      !warm_up.IsBoolean()) {
    return WrongArguments(env, signature);
  }
  bw_bench_request request{};
  request.threads = threads.As<Napi::Number>().Int32Value();
  request.seconds = seconds.As<Napi::Number>().DoubleValue();
  request.warm_up = warm_up.As<Napi::Boolean>().Value();
  request.cancelled = [](void* stop) { return static_cast<std::atomic<bool>*>(stop)->load(); };
  auto stop = std::make_shared<std::atomic<bool>>(false);
  return Alone(env,
               MakeJob<Measured>(
                   "bench",
                   [index, request, stop, name = precision.As<Napi::String>().Utf8Value()](
                       Measured& out, bw_error* error) -> bw_status {
                     BW_TRY(CheckText(name, "bench", "precision", error));
                     bw_bench_request asked = request;
                     asked.precision = name.c_str();
                     asked.context = stop.get();
                     return bw_bench_run(index, &asked, &out.result, error);
                   },
                   [](Napi::Env e, Measured& out) { return MeasuredObject(e, out); }),
               [stop] { *stop = true; });
}

Napi::Value BenchRow(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    return WrongArguments(env, "benchRow(Float64Array)");
  }
  Napi::Float64Array samples = info[0].As<Napi::Float64Array>();
  bw_bench_row row;
  bw_error error{};
  const bw_status status = bw_bench_summarise(reinterpret_cast<const bw_bench_sample*>(samples.Data()),
                                              static_cast<int>(samples.ElementLength() / kDoubles), &row, &error);
  if (status != BW_OK) return Failure(env, status, error);
  return Success(env, "row", RowObject(env, row));
}

}  // namespace bellows
