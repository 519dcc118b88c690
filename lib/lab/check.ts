// Whether a task can be run at all, before anything is started for it.

import { isAbsolute } from "node:path";
import { z } from "zod";
import { OptionError } from "../errors.js";
import type { Task } from "./task.js";

const positive = z.number().positive();
const path = z.string().refine((text) => isAbsolute(text), "it must be an absolute path");

const SHAPE = z.object({
  seed: z.int().nonnegative(),
  config: z.record(z.string(), z.unknown()),
  budget: z
    .strictObject({
      iterations: z.int().positive().optional(),
      seconds: positive.optional(),
      flops: positive.optional(),
    })
    .refine(
      (budget) => Object.values(budget).filter((value) => value !== undefined).length === 1,
      "it must have exactly one of iterations, seconds, flops",
    ),
  metric: z.strictObject({
    name: z.string().min(1),
    goal: z.enum(["minimize", "maximize"]),
    summary: z.union([z.literal("final"), z.strictObject({ last: z.int().positive() })]),
  }),
  limits: z.strictObject({
    memory: positive.optional(),
    seconds: positive.optional(),
    heartbeat: positive.optional(),
  }),
  directory: path,
});

const OBJECTIVE = z.union([
  z.literal("selfplay"),
  z.strictObject({
    module: z.string().refine((text) => isAbsolute(text) || text.startsWith("file:"), "an absolute path or a file URL"),
    export: z.string().optional(),
  }),
]);

function check(shape: z.ZodType, value: unknown): void {
  const { error } = shape.safeParse(value);
  const issue = error?.issues[0];
  if (!issue) return;
  const field = ["task", ...issue.path.map(String)].join(".");
  let received: unknown = value;
  for (const key of issue.path) received = (received as Record<PropertyKey, unknown> | undefined)?.[key];
  const text = JSON.stringify(received) ?? "nothing";
  throw new OptionError(`${field} is ${text}: ${issue.message}`, {
    op: "execute",
    path: field,
    received: text,
    expected: issue.message,
  });
}

/** @throws {@link OptionError} that names the field */
export function checkTask(task: Task): void {
  check(SHAPE.extend({ objective: OBJECTIVE }).loose(), task);
}

/** As {@link checkTask}, for a function of this process. */
export function checkTaskHere(task: Omit<Task, "objective">): void {
  check(SHAPE.loose(), task);
}
