/**
 * What a device can be asked. One device, one actor, on the node that has the device; its ledger is the authority on the
 * device's memory. All messages are idempotent by reservation id.
 */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { ClaimState, DeviceStatus } from "./Device.ts"
import { OutOfMemory, ReservationConflict, ReservationNotFound } from "./Errors.ts"
import { Bytes, ReservationId } from "./Ids.ts"
import { MailboxLimit } from "./MailboxLimit.ts"

/** Promises memory for `ttlMillis`; what is not committed by then is free again. Succeeds with the bytes left free. */
export class Reserve extends Rpc.make("Reserve", {
  payload: {
    reservation: ReservationId,
    owner: Schema.String,
    bytes: Bytes,
    /** The part of `bytes` (a KV cache) that later claims may take a share of with `within`. */
    shareable: Bytes,
    within: Schema.NullOr(ReservationId),
    ttlMillis: Schema.Positive
  },
  success: Schema.Struct({ free: Bytes }),
  error: Schema.Union(OutOfMemory, ReservationNotFound, ReservationConflict)
}) {}

/** Moves a claim forward in its life. `ttlMillis` null: until it is released. */
export class Commit extends Rpc.make("Commit", {
  payload: {
    reservation: ReservationId,
    state: ClaimState.pipe(Schema.pickLiteral("loading", "resident", "draining")),
    ttlMillis: Schema.NullOr(Schema.Positive)
  },
  error: ReservationNotFound
}) {}

/**
 * Names the process that fills a claim, alone or with the group that it leads: what it really takes is read from now on and counts where
 * it is more than was claimed. Another process of the same claim takes the place of the one before.
 */
export class Occupy extends Rpc.make("Occupy", {
  payload: {
    reservation: ReservationId,
    pid: Schema.Int.pipe(Schema.positive()),
    /** Over how many devices it is spread. */
    devices: Schema.Int.pipe(
      Schema.positive(),
      Schema.propertySignature,
      Schema.withConstructorDefault(() => 1)
    )
  },
  error: ReservationNotFound
}) {}

/** Frees a claim and all claims within it. Releasing what is gone succeeds. */
export class Release extends Rpc.make("Release", {
  payload: { reservation: ReservationId },
  success: Schema.Struct({ free: Bytes })
}) {}

export class Status extends Rpc.make("Status", { success: DeviceStatus }) {}

/** The status now and after every change; a slow watcher is given the latest. */
export class Watch extends Rpc.make("Watch", { success: DeviceStatus, stream: true }) {}

export const GpuActor = RpcGroup.make(Reserve, Commit, Occupy, Release, Status, Watch).middleware(MailboxLimit)
