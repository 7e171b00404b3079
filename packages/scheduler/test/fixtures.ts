/** Small fleets for the scheduler's tests: sizes in bytes, one byte of KV cache a token. */
import { Device, type DeviceKind } from "@helixflow/schema/Device"
import { Bytes, DeviceId, Millis, ModelId, makeReplicaId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import { ModelSpec, Placing, type PolicyName, ReplicaStatus } from "@helixflow/schema/Model"

export const deviceId = (index: number) => DeviceId.make(`local/cpu:${index}`)

export const device = (index: number, total: number) =>
  new Device({ id: deviceId(index), kind: "cpu", name: `device ${index}`, total: Bytes.make(total) })

export interface ModelFigures {
  readonly slots?: number
  readonly weights?: number
  readonly context?: number
  readonly kvPerToken?: number
  readonly replicas?: number
  readonly policy?: PolicyName
  readonly placing?: Partial<Placing>
  readonly revision?: string
  /** Where it takes something else on devices of a kind. */
  readonly onKinds?: Partial<Record<DeviceKind, Partial<Record<"weights" | "kvPerToken", number>>>>
}

/** By default it claims 100 bytes: weights of 60, and two slots of 20. */
export const model = (name: string, figures: ModelFigures = {}) => {
  const footprint = { weights: 60, kvPerToken: 1, ...figures }
  const onKinds = Object.entries(figures.onKinds ?? {}).map(([kind, own]) => {
    const { kvPerToken, weights } = { ...footprint, ...own }
    return [kind, { weights: Bytes.make(weights), kvPerToken: Bytes.make(kvPerToken), declared: false }] as const
  })
  return new ModelSpec({
    id: ModelId.make(name),
    aliases: [],
    task: "text-generation",
    context: figures.context ?? 20,
    slots: figures.slots ?? 2,
    weights: Bytes.make(footprint.weights),
    kvPerToken: Bytes.make(footprint.kvPerToken),
    onKinds: Object.fromEntries(onKinds),
    replicas: figures.replicas ?? 1,
    policy: figures.policy ?? "best-fit",
    placing: new Placing({ ...Placing.anywhere, ...figures.placing }),
    sampling: {},
    revision: figures.revision ?? "",
    created: 0
  })
}

export const request = (name: string | number) => RequestId.make(`request-${name}`)

/** What the replica of this number says of itself: that it is ready and has nothing to do, unless it is to say something else. */
export const replicaStatus = (
  spec: ModelSpec,
  on: DeviceId,
  { n = 0, ...more }: { readonly n?: number } & Partial<ConstructorParameters<typeof ReplicaStatus>[0]> = {}
) => {
  const replica = makeReplicaId(on, spec.id, n)
  return new ReplicaStatus({
    replica,
    device: on,
    model: spec.id,
    reservation: ReservationId.make(replica),
    state: "ready",
    active: 0,
    slots: spec.slots,
    pid: 1,
    rss: null,
    since: Millis.make(0),
    lastFailure: null,
    ...more
  })
}
