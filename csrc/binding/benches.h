// The benches of csrc/bench for JavaScript.
#ifndef BW_BINDING_BENCHES_H
#define BW_BINDING_BENCHES_H

#include "js.h"

namespace bellows {

// benchCases(): [{name, shape, unit, seconds, what, steps}]
Napi::Value BenchCases(const Napi::CallbackInfo& info);
// benchRun(index, {threads, precision, seconds, warmUp}): a promise of {samples, profile}. samples: a Float64Array, one
// bw_bench_sample after the other, for benchRow.
Napi::Value BenchRun(const Napi::CallbackInfo& info);
// benchRow(samples): {ok, row} | {ok, error}; samples may be those of several runs.
Napi::Value BenchRow(const Napi::CallbackInfo& info);

}  // namespace bellows

#endif
