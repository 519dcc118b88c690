// What a file of rated players holds.

import { z } from "zod";
import { GAME_NAMES } from "../names.gen.js";
import { MAX_SIMULATIONS } from "./player.js";
import { FORMAT } from "./pool.js";

export const poolFile = z.object({
  format: z.literal(FORMAT),
  game: z.enum(GAME_NAMES),
  /** How the ratings were found, for people. */
  about: z.string(),
  /** Random plies at the beginning of the games behind the ratings. */
  plies: z.int().min(0).max(64),
  players: z
    .array(
      z.object({
        name: z.string().min(1),
        /** A player without a network by its name, or the file of a policy relative to this one. */
        player: z.string().min(1),
        /** Of a policy. */
        play: z.enum(["argmax", "sampled"]).optional(),
        /** Of a policy's sampling; 1 where it is not there. */
        temperature: z.number().min(0.01).max(100).optional(),
        /** Of a policy that searches before each move. */
        simulations: z.int().min(1).max(MAX_SIMULATIONS).optional(),
        /** By Bradley and Terry; random = 1000. */
        rating: z.number(),
        /** By the sequential procedure of self-play-ppo. */
        sequential: z.number(),
      }),
    )
    .min(1),
});
