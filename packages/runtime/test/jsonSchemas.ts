/** Random JSON Schemas of the supported kind, values of them, and what tells values from others: an oracle that shares nothing with the grammar. */
import { FastCheck as fc } from "effect"

export interface TestSchema {
  readonly type?: string | ReadonlyArray<string>
  readonly properties?: Readonly<Record<string, TestSchema>>
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: false | TestSchema
  readonly items?: TestSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly enum?: ReadonlyArray<unknown>
  readonly anyOf?: ReadonlyArray<TestSchema>
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, TestSchema>>
}

/** `root`: where references point. */
export const validates = (schema: TestSchema, value: unknown, root: TestSchema = schema): boolean => {
  if (schema.$ref !== undefined) {
    const target = schema.$ref === "#" ? root : root.$defs?.[schema.$ref.slice("#/$defs/".length)]
    return target !== undefined && validates(target, value, root)
  }
  if (schema.anyOf !== undefined) return schema.anyOf.some((one) => validates(one, value, root))
  if (schema.enum !== undefined) return schema.enum.some((one) => JSON.stringify(one) === JSON.stringify(value))
  switch (schema.type) {
    case "object": {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return false
      const { additionalProperties: more = false, properties = {}, required = [] } = schema
      return (
        required.every((name) => Object.hasOwn(value, name)) &&
        Object.entries(value).every(([name, part]) => {
          const own = Object.hasOwn(properties, name) ? properties[name] : undefined
          if (own !== undefined) return validates(own, part, root)
          return more !== false && validates(more, part, root)
        })
      )
    }
    case "array":
      return (
        Array.isArray(value) &&
        value.length >= (schema.minItems ?? 0) &&
        value.length <= (schema.maxItems ?? Number.POSITIVE_INFINITY) &&
        value.every((item) => validates(schema.items ?? {}, item, root))
      )
    case "string":
      return (
        typeof value === "string" &&
        [...value].length >= (schema.minLength ?? 0) &&
        [...value].length <= (schema.maxLength ?? Number.POSITIVE_INFINITY)
      )
    case "integer":
      return Number.isInteger(value)
    case "null":
      return value === null
    case undefined:
      return true
    default:
      if (typeof schema.type !== "string")
        return schema.type.some((type) => validates({ ...schema, type }, value, root))
      return typeof value === schema.type && (schema.type !== "number" || Number.isFinite(value))
  }
}

const name = fc.constantFrom("a", "ab", "abc", "b", 'quote"d', "ünïcödé", "", "世界")
const text = fc.string({ unit: "grapheme", maxLength: 6 })

const bounded = (key: "Items" | "Length") =>
  fc.tuple(fc.option(fc.nat(2), { nil: undefined }), fc.option(fc.nat(3), { nil: undefined })).map(([least, more]) => ({
    ...(least !== undefined && { [`min${key}`]: least }),
    ...(more !== undefined && { [`max${key}`]: (least ?? 0) + more })
  }))

/** `#` and `#/$defs/d` only inside of what may be left out, so that all have finite values. */
const { schema } = fc.letrec<{ schema: TestSchema; leaf: TestSchema; object: TestSchema; array: TestSchema }>(
  (tie) => ({
    schema: fc.oneof({ depthSize: "small" }, tie("leaf"), tie("object"), tie("array"), anyOf(tie("schema"))),
    leaf: fc.oneof(
      fc.constantFrom<TestSchema>({ type: "integer" }, { type: "number" }, { type: "boolean" }, { type: "null" }, {}),
      bounded("Length").map((bounds) => ({ type: "string", ...bounds })),
      fc
        .array(fc.oneof(text, fc.integer(), fc.constant(null), fc.constant({ k: [1, "v"] })), { minLength: 1 })
        .map((values) => ({ enum: values }))
    ),
    object: fc
      .tuple(
        fc.dictionary(name, tie("schema"), { maxKeys: 4 }),
        fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
        fc.option(tie("leaf"), { nil: false as const }),
        fc.constantFrom<TestSchema | null>(null, null, { $ref: "#" }, { $ref: "#/$defs/d" })
      )
      .map(([own, needed, additionalProperties, reference]): TestSchema => {
        const properties = { ...own, ...(reference !== null && { again: reference }) }
        const required = Object.keys(own).filter((_, index) => needed[index])
        return { type: "object", properties, required, additionalProperties }
      }),
    array: fc
      .tuple(tie("schema"), bounded("Items"))
      .map(([items, bounds]): TestSchema => ({ type: "array", items, ...bounds }))
  })
)

function anyOf(one: fc.Arbitrary<TestSchema>): fc.Arbitrary<TestSchema> {
  return fc.array(one, { minLength: 1, maxLength: 3 }).map((alternatives) => ({ anyOf: alternatives }))
}

export const schemas: fc.Arbitrary<TestSchema> = fc
  .tuple(schema, schema)
  .map(([root, d]) => ({ ...root, $defs: { d } }))

/** A source of random choices. */
export interface Choices {
  /** A whole number below `count`. */
  readonly below: (count: number) => number
}

export const choicesOf = (seed: number): Choices => {
  let state = seed | 1
  return {
    below: (count) => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return Math.abs(state) % count
    }
  }
}

const characters = ["a", '"', "\\", "\n", "\u0001", "é", "世", "😀", " ", "<"]

/** A value of the schema, its members in the order of the schema. */
export const valueOf = (schema: TestSchema, choices: Choices, root: TestSchema = schema, depth = 0): unknown => {
  const { below } = choices
  if (schema.$ref !== undefined) {
    return valueOf(schema.$ref === "#" ? root : (root.$defs?.["d"] ?? {}), choices, root, depth + 1)
  }
  if (schema.anyOf !== undefined) {
    return valueOf(schema.anyOf[below(schema.anyOf.length)] ?? {}, choices, root, depth + 1)
  }
  if (schema.enum !== undefined) return schema.enum[below(schema.enum.length)]
  const within = (low: number, high: number) => low + below(Math.max(0, high - low) + 1)
  const textOf = (low: number, high: number) =>
    Array.from({ length: within(low, high) }, () => characters[below(characters.length)]).join("")
  switch (schema.type) {
    case "object": {
      const { additionalProperties: more = false, properties = {}, required = [] } = schema
      const members: Array<readonly [string, unknown]> = []
      for (const [key, part] of Object.entries(properties)) {
        if (!required.includes(key) && (depth > 6 || below(2) === 0)) continue
        members.push([key, valueOf(part, choices, root, depth + 1)])
      }
      if (more !== false && below(2) === 0) members.push([`x${below(9)}`, valueOf(more, choices, root, depth + 1)])
      return Object.fromEntries(members)
    }
    case "array": {
      const least = schema.minItems ?? 0
      const most = depth > 6 ? least : (schema.maxItems ?? least + 2)
      return Array.from({ length: within(least, most) }, () => valueOf(schema.items ?? {}, choices, root, depth + 1))
    }
    case "string":
      return textOf(schema.minLength ?? 0, schema.maxLength ?? (schema.minLength ?? 0) + 4)
    case "integer":
      return below(2 ** 30) - 2 ** 29
    case "number":
      return [0, -1.5, 1e-7, 1.25e21, 123456789.125, -3e-300, 2.5e300][below(7)]
    case "boolean":
      return below(2) === 0
    case "null":
      return null
    default:
      return [null, true, 0, "text", [1, "a"], { key: { nested: [] } }][below(6)]
  }
}

/** JSON with at most one space behind each comma and colon. */
export const spaced = (value: unknown, { below }: Choices): string => {
  const space = () => (below(2) === 0 ? " " : "")
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((one) => spaced(one, { below })).join(`,${space()}`)}]`
  const members = Object.entries(value).map(
    ([key, one]) => `${JSON.stringify(key)}:${space()}${spaced(one, { below })}`
  )
  return `{${members.join(`,${space()}`)}}`
}
