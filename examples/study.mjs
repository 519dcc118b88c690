// Is a tenth of the learning rate worse? Pairs of short runs until that is decided, in a lab that keeps nothing.
// Without `lab: ":memory:"` everything would be in lab.sqlite, and a second start would find it done.

import { Study } from "bellows/lab";

const study = await Study.open(
  {
    name: "learning-rate",
    metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize" },
    budget: { iterations: 40 },
    baseline: { config: { game: { name: "tictactoe" }, net: { width: 64 }, rollout: { games: 256 } } },
    proposals: {
      slow: { change: { ppo: { lr: 4e-4 } }, hypothesis: "A tenth of the rate learns too little in 40 iterations." },
    },
    noise: { runs: 4 },
  },
  { lab: ":memory:" },
);
for await (const event of study.run()) {
  if (event.type === "noise") console.log(`noise: standard deviation ${event.floor.deviation.toFixed(3)}`);
  if (event.type === "verdict" && event.verdict.final) console.log(event.verdict.sentence);
}
study.close();
