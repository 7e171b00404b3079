/** A model that takes hardly any memory and a device that has hardly any: for tests of something else. */
import { Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId, ModelId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"

export const spec = ModelSpec.make({
  id: ModelId.make("m"),
  aliases: [],
  task: "text-generation",
  context: 1_000,
  slots: 64,
  weights: Bytes.make(1),
  kvPerToken: Bytes.make(0),
  replicas: 1,
  policy: "best-fit",
  sampling: {},
  created: 0
})

export const device = new Device({ id: DeviceId.make("local/cpu:0"), kind: "cpu", name: "c", total: Bytes.make(9) })
