// Matches for JavaScript.
#ifndef BW_BINDING_MATCHES_H
#define BW_BINDING_MATCHES_H

#include "js.h"

namespace bellows {

// match({game, players: [{kind, strength} | {kind: "policy", game, entries, file, argmax, temperature}, ...], openings,
// first, games, seed, threads}): {result, done, cancel}. result: a promise of {results, plies, moves}, ArrayBuffers as
// bw_match_run fills them; done(): games that are over; cancel() makes the promise reject with CANCELLED soon.
Napi::Value Match(const Napi::CallbackInfo& info);

}  // namespace bellows

#endif
