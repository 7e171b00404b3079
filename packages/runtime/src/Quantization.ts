/**
 * Matrix products whose weights are stored in fewer bits, the way ONNX Runtime's own quantizers write them. Weights come in
 * PyTorch's layout `[outputs, inputs]`.
 *
 * | scheme | weights | product |
 * |---|---|---|
 * | `fp32` | float32 | `MatMul` |
 * | `fp16` | float16, widened to float32 when the model is loaded | `MatMul` |
 * | `int8` | 7 bits in int8, one scale per output; activations quantized as they come | `DynamicQuantizeLinear`, `MatMulInteger` |
 * | `q8`, `q4` | 8 or 4 bits, one scale per block of 32 inputs | `com.microsoft.MatMulNBits` |
 */
import { toFloat16 } from "./HalfFloat.ts"
import { MICROSOFT_DOMAIN, type OnnxGraph, TensorTypeNumber } from "./OnnxWriter.ts"

export const WeightScheme = ["fp32", "fp16", "int8", "q8", "q4"] as const
export type WeightScheme = (typeof WeightScheme)[number]

/** Inputs that share a scale under `q8` and `q4`; a layer's input count must be a multiple of it. */
export const QUANTIZATION_BLOCK = 32

/**
 * How far int8 weights that are multiplied reach: seven bits. Of eight, processors without VNNI lose sums, because they add two products
 * of 8 bits in 16 ("reduce_range": https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
 */
const PRODUCT_REACH = 64
const REACH = 127

/** Below this no scale is used: a block of zeros must not divide by zero. */
const SMALLEST_SCALE = 1e-8

export interface BlockQuantized {
  /** `[outputs, blocks, block * bits / 8]`; with 4 bits the even element sits in the low half of a byte. */
  readonly values: Uint8Array
  /** `[outputs * blocks]` */
  readonly scales: Float32Array
}

/** Symmetric 8-bit blocks: `weight = (value - 128) * scale`. */
export function quantizeBlocks8(weight: Float32Array, block = QUANTIZATION_BLOCK): BlockQuantized {
  const values = new Uint8Array(weight.length)
  const scales = new Float32Array(weight.length / block)
  for (let b = 0; b < scales.length; b++) {
    const end = (b + 1) * block
    const scale = scale8(weight, b * block, end, REACH)
    scales[b] = scale
    for (let i = b * block; i < end; i++) values[i] = Math.round((weight[i] ?? 0) / scale) + 128
  }
  return { values, scales }
}

/**
 * Symmetric 4-bit blocks: `weight = (value - 8) * scale`. The scale takes the sign that puts the largest weight on -8, the end
 * of the range that reaches further.
 */
export function quantizeBlocks4(weight: Float32Array, block = QUANTIZATION_BLOCK): BlockQuantized {
  const values = new Uint8Array(weight.length / 2)
  const scales = new Float32Array(weight.length / block)
  for (let b = 0; b < scales.length; b++) {
    const end = (b + 1) * block
    let extreme = 0
    for (let i = b * block; i < end; i++) {
      const x = weight[i] ?? 0
      if (Math.abs(x) > Math.abs(extreme)) extreme = x
    }
    const scale = Math.abs(extreme) < SMALLEST_SCALE ? SMALLEST_SCALE : extreme / -8
    scales[b] = scale
    for (let i = b * block; i < end; i++) {
      const nibble = Math.max(0, Math.min(15, Math.round((weight[i] ?? 0) / scale) + 8))
      values[i >> 1] = (values[i >> 1] ?? 0) | (i % 2 === 0 ? nibble : nibble << 4)
    }
  }
  return { values, scales }
}

export interface RowQuantized {
  /** Same layout as the weight. */
  readonly values: Int8Array
  /** `[rows]` */
  readonly scales: Float32Array
}

/** Symmetric int8 with one scale per row: `weight = value * scale`, the values within `-reach` and `reach`. */
export function quantizeRows(weight: Float32Array, rows: number, reach = REACH): RowQuantized {
  const width = weight.length / rows
  const values = new Int8Array(weight.length)
  const scales = new Float32Array(rows)
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * width
    const scale = scale8(weight, r * width, end, reach)
    scales[r] = scale
    for (let i = r * width; i < end; i++) values[i] = Math.round((weight[i] ?? 0) / scale)
  }
  return { values, scales }
}

/** Turns a `[rows, columns]` matrix into `[columns, rows]`. */
export function transpose<A extends Float32Array | Int8Array>(matrix: A, rows: number, columns: number, out: A): A {
  // In tiles: both the reads and the writes of a tile stay in cache.
  const tile = 64
  for (let r0 = 0; r0 < rows; r0 += tile) {
    for (let c0 = 0; c0 < columns; c0 += tile) {
      const r1 = Math.min(rows, r0 + tile)
      const c1 = Math.min(columns, c0 + tile)
      for (let r = r0; r < r1; r++) for (let c = c0; c < c1; c++) out[c * rows + r] = matrix[r * columns + c] ?? 0
    }
  }
  return out
}

export interface LinearLayer {
  /** Names the constants it adds. */
  readonly name: string
  readonly inputs: number
  readonly outputs: number
  /** `[outputs, inputs]` */
  readonly weight: Float32Array
  /** `[outputs]` */
  readonly bias?: Float32Array
}

/** Adds `x · weightᵀ + bias` to the graph and returns the name of the product, `[..., outputs]`. */
export function addLinear(graph: OnnxGraph, x: string, layer: LinearLayer, scheme: WeightScheme): string {
  const product = addProduct(graph, x, layer, scheme)
  if (layer.bias === undefined) return product
  return graph.node("Add", [product, graph.initializer(`${layer.name}.bias`, "float32", [layer.outputs], layer.bias)])
}

function addProduct(graph: OnnxGraph, x: string, layer: LinearLayer, scheme: WeightScheme): string {
  const { name, inputs, outputs, weight } = layer
  switch (scheme) {
    case "fp32":
    case "fp16":
      return graph.node("MatMul", [
        x,
        addConstant(
          graph,
          `${name}.weight`,
          [inputs, outputs],
          transpose(weight, outputs, inputs, new Float32Array(weight.length)),
          scheme
        )
      ])
    case "int8": {
      const { scales, values } = quantizeRows(weight, outputs, PRODUCT_REACH)
      const kernel = transpose(values, outputs, inputs, new Int8Array(weight.length))
      const quantized = graph.unique("quantized")
      const scale = graph.unique("scale")
      const zero = graph.unique("zero")
      graph.nodeInto("DynamicQuantizeLinear", [x], [quantized, scale, zero])
      const product = graph.node("MatMulInteger", [
        quantized,
        graph.initializer(`${name}.weight_int8`, "int8", [inputs, outputs], kernel),
        zero,
        graph.initializer(`${name}.weight_zero`, "int8", [outputs], new Int8Array(outputs))
      ])
      const widened = graph.node("Cast", [product], { attributes: { to: { int: TensorTypeNumber.float32 } } })
      const both = graph.node("Mul", [scale, graph.initializer(`${name}.weight_scale`, "float32", [outputs], scales)])
      return graph.node("Mul", [widened, both])
    }
    case "q8":
    case "q4": {
      const bits = scheme === "q8" ? 8 : 4
      const { scales, values } = bits === 8 ? quantizeBlocks8(weight) : quantizeBlocks4(weight)
      const blocks = inputs / QUANTIZATION_BLOCK
      return graph.node(
        "MatMulNBits",
        [
          x,
          graph.initializer(
            `${name}.weight_${scheme}`,
            "uint8",
            [outputs, blocks, (QUANTIZATION_BLOCK * bits) / 8],
            values
          ),
          graph.initializer(`${name}.weight_scale`, "float32", [outputs * blocks], scales)
        ],
        {
          domain: MICROSOFT_DOMAIN,
          attributes: {
            K: { int: inputs },
            N: { int: outputs },
            bits: { int: bits },
            block_size: { int: QUANTIZATION_BLOCK },
            // 4: activations are quantized to int8 too, which is what makes the product faster than float32.
            accuracy_level: { int: 4 }
          }
        }
      )
    }
  }
}

/** Adds a lookup of rows of `table` (`[rows, width]`) and returns its result, `[..., width]`, in float32. */
export function addEmbedding(
  graph: OnnxGraph,
  ids: string,
  table: { readonly name: string; readonly rows: number; readonly width: number; readonly weight: Float32Array },
  scheme: WeightScheme
): string {
  const { name, rows, weight, width } = table
  if (scheme === "fp32" || scheme === "fp16") {
    return graph.node("Gather", [addConstant(graph, name, [rows, width], weight, scheme), ids])
  }
  // Rows in int8 whatever the scheme of the products: a table has no inputs to sum over, so four bits would show.
  const { scales, values } = quantizeRows(weight, rows)
  const found = graph.node("Gather", [graph.initializer(`${name}_int8`, "int8", [rows, width], values), ids])
  const scale = graph.node("Gather", [graph.initializer(`${name}_scale`, "float32", [rows, 1], scales), ids])
  const widened = graph.node("Cast", [found], { attributes: { to: { int: TensorTypeNumber.float32 } } })
  return graph.node("Mul", [widened, scale])
}

function addConstant(
  graph: OnnxGraph,
  name: string,
  dims: ReadonlyArray<number>,
  data: Float32Array,
  scheme: "fp32" | "fp16"
): string {
  if (scheme === "fp32") return graph.initializer(name, "float32", dims, data)
  // ONNX Runtime folds the cast when it loads the model: half the file, the same products.
  return graph.node("Cast", [graph.initializer(name, "float16", dims, toFloat16(data))], {
    attributes: { to: { int: TensorTypeNumber.float32 } }
  })
}

/** The scale that puts the largest of `values[start, end)` on `reach`. */
function scale8(values: Float32Array, start: number, end: number, reach: number): number {
  let largest = 0
  for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0))
  return Math.max(largest / reach, SMALLEST_SCALE)
}
