import { ConfigProvider, Layer } from "effect"

/** An environment with these variables and no others, for layers that read their configuration. */
export const environment = (variables: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))
