/** Small fleets for the scheduler's tests: sizes in bytes, one byte of KV cache a token. */
import { Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId, ModelId, RequestId } from "@helixflow/schema/Ids"
import { ModelSpec, Placing, type PolicyName } from "@helixflow/schema/Model"

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
}

/** By default it claims 100 bytes: weights of 60, and two slots of 20. */
export const model = (name: string, figures: ModelFigures = {}) =>
  new ModelSpec({
    id: ModelId.make(name),
    aliases: [],
    task: "text-generation",
    context: figures.context ?? 20,
    slots: figures.slots ?? 2,
    weights: Bytes.make(figures.weights ?? 60),
    kvPerToken: Bytes.make(figures.kvPerToken ?? 1),
    replicas: figures.replicas ?? 1,
    policy: figures.policy ?? "best-fit",
    placing: new Placing({ ...Placing.anywhere, ...figures.placing }),
    sampling: {},
    revision: figures.revision ?? "",
    created: 0
  })

export const request = (name: string | number) => RequestId.make(`request-${name}`)
