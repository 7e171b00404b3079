/**
 * The JSON that a JSON Schema describes, as a grammar: the part of JSON Schema that OpenAI's structured outputs have, and refused by name
 * what else would narrow the values. Members come in the order of `properties`; an object that doesn't say what else it may have has nothing
 * else.
 * Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas, https://json-schema.org/draft/2020-12
 */
import { call, choice, type Part, text } from "./ByteAutomaton.ts"
import * as Json from "./JsonSyntax.ts"

/** `keyword`: what can't be honoured; null where it is the schema as such. `path`: where, from the schema's root. */
export class UnsupportedSchema extends Error {
  override readonly name = "UnsupportedSchema"
  constructor(
    readonly path: string,
    readonly keyword: string | null,
    reason: string
  ) {
    super(reason)
  }
}

type Fields = Readonly<Record<string, unknown>>

/** Say nothing of the values. */
const ANNOTATIONS = new Set([
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$comment",
  "$defs",
  "definitions"
])

const KEYWORDS: Readonly<Record<string, ReadonlyArray<string>>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems", "maxItems"],
  string: ["minLength", "maxLength"],
  integer: [],
  number: [],
  boolean: [],
  null: []
}

/** Schemas inside of one another, as they are written. */
const MOST_NESTED = 64

export interface JsonSchemaOptions {
  /** Whether objects must be closed and their properties required, as OpenAI's strict mode has it. */
  readonly strict: boolean
}

/** Throws {@link UnsupportedSchema} when it is put to use. */
export const jsonSchema = (schema: unknown, { strict }: JsonSchemaOptions): Part => {
  if (strict && !(isObject(schema) && schema["type"] === "object")) {
    throw new UnsupportedSchema("", "type", "a strict schema must be of type 'object'")
  }
  return new Translation(schema, strict).value(schema, { path: "", nested: 0, references: [] })
}

/** Where in the schema. */
interface Position {
  readonly path: string
  readonly nested: number
  /** References that led here from the nearest object or array. */
  readonly references: ReadonlyArray<string>
}

class Translation {
  /** Of each schema the rules that it has become, by type. */
  readonly #rules = new Map<Fields, { readonly object: symbol; readonly array: symbol }>()

  constructor(
    readonly root: unknown,
    readonly strict: boolean
  ) {}

  value(schema: unknown, at: Position): Part {
    if (schema === true) return Json.anyValue
    if (!isObject(schema)) throw new UnsupportedSchema(at.path, null, "a schema must be an object")
    if (at.nested > MOST_NESTED) throw new UnsupportedSchema(at.path, null, "it is nested too deep")
    const says = Object.keys(schema).filter((keyword) => !ANNOTATIONS.has(keyword))
    if (says.length === 0) return Json.anyValue
    if ("$ref" in schema) return this.#reference(schema, at, says)
    if ("anyOf" in schema) return this.#anyOf(schema, at, says)
    if ("enum" in schema || "const" in schema) return this.#enumeration(schema, at, says)
    return this.#typed(schema, at, says)
  }

  #reference(schema: Fields, at: Position, says: ReadonlyArray<string>): Part {
    const { $ref: reference } = schema
    allow(says, ["$ref"], at, "beside '$ref'")
    if (typeof reference !== "string" || !reference.startsWith("#")) {
      throw new UnsupportedSchema(at.path, "$ref", "'$ref' must point into the schema itself, as '#/$defs/name' does")
    }
    if (at.references.includes(reference)) {
      throw new UnsupportedSchema(at.path, "$ref", `'${reference}' refers to itself`)
    }
    const target = pointed(this.root, reference)
    if (target === undefined) throw new UnsupportedSchema(at.path, "$ref", `there is no '${reference}'`)
    return this.value(target, { path: reference, nested: at.nested, references: [...at.references, reference] })
  }

  #anyOf(schema: Fields, at: Position, says: ReadonlyArray<string>): Part {
    const { anyOf } = schema
    allow(says, ["anyOf"], at, "beside 'anyOf'")
    if (!Array.isArray(anyOf) || anyOf.length === 0) {
      throw new UnsupportedSchema(at.path, "anyOf", "'anyOf' must be a non-empty array")
    }
    // alternatives of alternatives may be many: none is looked into before there are nodes for those before it
    const alternative =
      (one: unknown, index: number): Part =>
      (automaton, from) =>
        this.value(one, below(at, `anyOf[${index}]`, at.references))(automaton, from)
    return choice(...anyOf.map(alternative))
  }

  #enumeration(schema: Fields, at: Position, says: ReadonlyArray<string>): Part {
    const keyword = "enum" in schema ? "enum" : "const"
    allow(says, [keyword, "type"], at, `beside '${keyword}'`)
    const values: unknown = keyword === "enum" ? schema["enum"] : [schema["const"]]
    if (!Array.isArray(values)) throw new UnsupportedSchema(at.path, "enum", "'enum' must be an array")
    const types = "type" in schema ? this.#types(schema, at) : null
    const meant = values.filter((value) => types?.some((type) => isOfType(value, type)) ?? true)
    if (meant.length === 0) throw new UnsupportedSchema(at.path, keyword, `no value of '${keyword}' is of the type`)
    return choice(...meant.map(Json.literal))
  }

  #typed(schema: Fields, at: Position, says: ReadonlyArray<string>): Part {
    const types = this.#types(schema, at)
    const allowed = types.flatMap((type) => KEYWORDS[type] ?? [])
    allow(says, ["type", ...allowed], at, `for type ${types.map((type) => `'${type}'`).join(" or ")}`)
    return choice(...types.map((type) => this.#ofType(type, schema, at)))
  }

  #types(schema: Fields, at: Position): ReadonlyArray<string> {
    const { type } = schema
    if (type === undefined) {
      const [other] = Object.keys(schema).filter((keyword) => !ANNOTATIONS.has(keyword))
      const isKnown = Object.values(KEYWORDS).some((keywords) => keywords.includes(other ?? ""))
      if (isKnown) throw new UnsupportedSchema(at.path, "type", `'type' is missing beside '${other}'`)
      throw new UnsupportedSchema(at.path, other ?? "type", `'${other}' is not supported`)
    }
    const types: ReadonlyArray<unknown> = Array.isArray(type) ? type : [type]
    const known = types.filter((one) => typeof one === "string").filter((one) => has(KEYWORDS, one))
    if (known.length !== types.length || known.length === 0) {
      const names = Object.keys(KEYWORDS).map((one) => `'${one}'`)
      throw new UnsupportedSchema(at.path, "type", `'type' must be one or some of ${names.join(", ")}`)
    }
    return known
  }

  #ofType(type: string, schema: Fields, at: Position): Part {
    switch (type) {
      case "object":
        return this.#object(schema, at)
      case "array":
        return this.#array(schema, at)
      case "string": {
        const [least, most] = bounds(schema, "minLength", "maxLength", at)
        return Json.string(least, most)
      }
      case "integer":
        return Json.integer
      case "number":
        return Json.number
      case "boolean":
        return choice(text("true"), text("false"))
      default:
        return text("null")
    }
  }

  /** A rule of its own, so that what it contains may refer to it. */
  #object(schema: Fields, at: Position): Part {
    const { additionalProperties: more = false, properties = {}, required = [] } = schema
    if (!isObject(properties)) throw new UnsupportedSchema(at.path, "properties", "'properties' must be an object")
    const needed = new Set(Array.isArray(required) ? required : [])
    if (!Array.isArray(required) || ![...needed].every((name) => typeof name === "string" && has(properties, name))) {
      throw new UnsupportedSchema(at.path, "required", "'required' must be an array of names in 'properties'")
    }
    const names = Object.keys(properties)
    if (this.strict && schema["additionalProperties"] !== false) {
      throw new UnsupportedSchema(
        at.path,
        "additionalProperties",
        "a strict schema needs 'additionalProperties' to be false"
      )
    }
    if (this.strict && needed.size < names.length) {
      throw new UnsupportedSchema(at.path, "required", "a strict schema needs 'required' to name all properties")
    }
    return call(this.#ruleOf(schema).object, (automaton, from) => {
      const members = names.map((name) =>
        Json.member(
          name,
          this.value(properties[name], below(at, `properties.${name}`)),
          needed.has(name) ? "once" : "optional"
        )
      )
      if (more !== false) {
        const value = this.value(more, below(at, "additionalProperties"))
        members.push({ name: Json.otherName(names), value, occurs: "any" })
      }
      return Json.objectOf(members)(automaton, from)
    })
  }

  #ruleOf(schema: Fields) {
    const rules = this.#rules.get(schema) ?? { object: Symbol("object"), array: Symbol("array") }
    this.#rules.set(schema, rules)
    return rules
  }

  #array(schema: Fields, at: Position): Part {
    const { items = true } = schema
    const [least, most] = bounds(schema, "minItems", "maxItems", at)
    return call(this.#ruleOf(schema).array, (automaton, from) => {
      const item = this.value(items, below(at, "items"))
      return Json.arrayOf(item, least, most)(automaton, from)
    })
  }
}

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const has = (fields: Fields, name: string): boolean => Object.hasOwn(fields, name)

const isOfType = (value: unknown, type: string): boolean => {
  switch (type) {
    case "object":
      return isObject(value)
    case "array":
      return Array.isArray(value)
    case "integer":
      return Number.isInteger(value)
    case "null":
      return value === null
    default:
      return typeof value === type
  }
}

const below = (at: Position, step: string, references: Position["references"] = []): Position => ({
  path: at.path === "" ? step : `${at.path}.${step}`,
  nested: at.nested + 1,
  references
})

const allow = (says: ReadonlyArray<string>, allowed: ReadonlyArray<string>, at: Position, where: string): void => {
  const other = says.find((keyword) => !allowed.includes(keyword))
  if (other !== undefined) throw new UnsupportedSchema(at.path, other, `'${other}' is not supported ${where}`)
}

const bounds = (schema: Fields, low: string, high: string, at: Position): readonly [number, number | null] => {
  const read = (keyword: string, otherwise: number): number => {
    const value = schema[keyword] ?? otherwise
    if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value
    throw new UnsupportedSchema(at.path, keyword, `'${keyword}' must be a non-negative integer`)
  }
  const least = read(low, 0)
  const most = schema[high] === undefined ? null : read(high, 0)
  if (most !== null && most < least) throw new UnsupportedSchema(at.path, high, `'${high}' is less than '${low}'`)
  return [least, most]
}

/** What a JSON pointer in a fragment points to (RFC 6901); undefined: nothing. */
const pointed = (root: unknown, reference: string): unknown => {
  const steps = unescaped(reference.slice(1)).split("/").slice(1)
  return steps.reduce<unknown>((value, step) => {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~")
    if (Array.isArray(value)) return value[Number(name)]
    return isObject(value) && has(value, name) ? value[name] : undefined
  }, root)
}

const unescaped = (fragment: string): string => {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}
