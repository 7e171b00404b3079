/** How every `tokenizer.json` that is written here begins: its version, and the tokens that texts are cut at before all else. */

export interface AddedTokens {
  /** Tokens that texts never contain by themselves, in the order of their ids, which start at 0. */
  readonly specials: ReadonlyArray<string>
  /** Added tokens that are text like any other, e.g. `<tool_call>`; they follow the special ones. */
  readonly added?: ReadonlyArray<string>
}

export const head = ({ added = [], specials }: AddedTokens): object => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [...specials, ...added].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: id < specials.length
  }))
})
