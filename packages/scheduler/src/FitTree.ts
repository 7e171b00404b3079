/**
 * A persistent ordered set of names, each with a key that orders it and a size: "the first in order whose size is at least so much" is
 * found in O(log n), whatever the sizes of those before it.
 *
 * A treap: a search tree by (key, name) and a heap by a priority that is a hash of the name, so that its shape depends on its contents
 * alone, and is balanced as if it were random. Every node knows the largest size below it.
 */

/** Where an item is, and its size. */
export interface Place {
  readonly key: number
  readonly size: number
}

export interface Item extends Place {
  /** Breaks ties of the key, in the order of its characters. */
  readonly name: string
}

interface Node extends Item {
  readonly priority: number
  /** The largest size of this node and those below. */
  readonly most: number
  readonly left: FitTree
  readonly right: FitTree
}

export type FitTree = Node | null

/** FNV-1a with a final mix: names that differ in one digit get unrelated priorities. */
export const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}

/** The order of a tree's items. */
export const compare = (a: Omit<Item, "size">, b: Omit<Item, "size">): number =>
  a.key - b.key || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

const node = (
  { key, name, size, priority }: Omit<Node, "most" | "left" | "right">,
  left: FitTree,
  right: FitTree
): Node => {
  let most = size
  if (left !== null && left.most > most) most = left.most
  if (right !== null && right.most > most) most = right.most
  return { key, name, size, priority, most, left, right }
}

/** Those before the item, and those behind. */
const split = (tree: FitTree, item: Item): readonly [FitTree, FitTree] => {
  if (tree === null) return [null, null]
  if (compare(tree, item) < 0) {
    const [before, behind] = split(tree.right, item)
    return [node(tree, tree.left, before), behind]
  }
  const [before, behind] = split(tree.left, item)
  return [before, node(tree, behind, tree.right)]
}

/** All of `before` come before all of `behind`. */
const join = (before: FitTree, behind: FitTree): FitTree => {
  if (before === null) return behind
  if (behind === null) return before
  return before.priority > behind.priority
    ? node(before, before.left, join(before.right, behind))
    : node(behind, join(before, behind.left), behind.right)
}

const add = (tree: FitTree, item: Omit<Node, "most" | "left" | "right">): FitTree => {
  if (tree === null || item.priority > tree.priority) {
    const [before, behind] = split(tree, item)
    return node(item, before, behind)
  }
  return compare(item, tree) < 0
    ? node(tree, add(tree.left, item), tree.right)
    : node(tree, tree.left, add(tree.right, item))
}

/** With the item, which is not in the tree. */
export const insert = (tree: FitTree, item: Item): FitTree => add(tree, { ...item, priority: hash(item.name) })

/** Without the item of this key and name, if it is there. */
export const remove = (tree: FitTree, item: Omit<Item, "size">): FitTree => {
  if (tree === null) return null
  const order = compare(item, tree)
  if (order === 0) return join(tree.left, tree.right)
  return order < 0 ? node(tree, remove(tree.left, item), tree.right) : node(tree, tree.left, remove(tree.right, item))
}

/** With another size of the item of this key and name, which is in the tree. */
export const resize = (tree: FitTree, item: Item): FitTree => {
  if (tree === null) return null
  const order = compare(item, tree)
  if (order === 0) return node({ ...item, priority: tree.priority }, tree.left, tree.right)
  return order < 0 ? node(tree, resize(tree.left, item), tree.right) : node(tree, tree.left, resize(tree.right, item))
}

/** With the item of this name at another place than before; null: not in the tree. */
export const replace = (tree: FitTree, name: string, was: Place | null, is: Place | null): FitTree => {
  if (was === null) return is === null ? tree : insert(tree, { ...is, name })
  if (was.key !== is?.key) {
    const without = remove(tree, { key: was.key, name })
    return is === null ? without : insert(without, { ...is, name })
  }
  return was.size === is.size ? tree : resize(tree, { ...is, name })
}

/** The first in order, behind `after` unless it is null, whose size is at least `needed`. */
export const first = (tree: FitTree, needed: number, after: Omit<Item, "size"> | null): Item | undefined => {
  if (tree === null || tree.most < needed) return undefined
  if (after !== null && compare(tree, after) <= 0) return first(tree.right, needed, after)
  return first(tree.left, needed, after) ?? (tree.size >= needed ? tree : first(tree.right, needed, null))
}
