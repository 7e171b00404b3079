/** The transport between processes of one machine: msgpack over a Unix socket. */
import * as Socket from "@effect/platform/Socket"
import type * as SocketServer from "@effect/platform/SocketServer"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { type Rpc, RpcClient, RpcClientError, type RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
import { Context, Effect, Layer, type Scope } from "effect"
import type { ActorClient, Behaviour, HostOptions } from "./Actor.ts"
import * as MailboxLimits from "./MailboxLimits.ts"
import { mapFailures } from "./TransportFailure.ts"
import { unvalidated } from "./UnvalidatedPayloads.ts"

/** Hosts an actor at a socket path. The path's folder must be private to the user: whoever can open it can call. */
export const host = Effect.fnUntraced(function* <Rpcs extends Rpc.Any, H extends RpcGroup.HandlersFrom<Rpcs>, E, R>(
  group: RpcGroup.RpcGroup<Rpcs>,
  behaviour: Behaviour<H, E, R>,
  options: HostOptions & { readonly path: string }
): Effect.fn.Return<
  void,
  E | SocketServer.SocketServerError,
  R | Scope.Scope | RpcGroup.HandlersContext<Rpcs, H> | Rpc.Context<Rpcs>
> {
  const handlers = yield* group.toHandlersContext(behaviour)
  const transport = yield* Layer.build(
    RpcServer.layerProtocolSocketServer.pipe(
      Layer.provide(NodeSocketServer.layer({ path: options.path })),
      Layer.provide(RpcSerialization.layerMsgPack)
    )
  )
  yield* RpcServer.make(group, { concurrency: "unbounded", disableTracing: true, disableFatalDefects: true }).pipe(
    Effect.provide(transport),
    Effect.mapInputContext(provideServer<Rpcs>(handlers, options)),
    Effect.forkScoped
  )
})

/** Connects to an actor at a socket path for the current scope. */
export const connect = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>,
  options: { readonly name: string; readonly path: string }
): Effect.fn.Return<ActorClient<Rpcs>, never, Scope.Scope | Rpc.MiddlewareClient<Rpcs>> {
  // built here and not provided to `make` alone, whose scope would close the socket at once
  const transport = yield* Layer.build(
    RpcClient.layerProtocolSocket().pipe(
      Layer.provide(NodeSocket.layerNet({ path: options.path })),
      Layer.provide(RpcSerialization.layerMsgPack)
    )
  ).pipe(Effect.orDie)
  const client = yield* RpcClient.make(unvalidated(group), { disableTracing: true }).pipe(Effect.provide(transport))
  return mapFailures(group, client, { name: options.name, isTransportFailure })
})

const isTransportFailure = (error: unknown): error is Error =>
  error instanceof RpcClientError.RpcClientError || Socket.isSocketError(error)

/** What an `RpcServer` needs, kept out of the surrounding context: message tags of two protocols may be the same. */
const provideServer =
  <Rpcs extends Rpc.Any>(handlers: Context.Context<Rpc.ToHandler<Rpcs>>, options: HostOptions) =>
  (input: Context.Context<Scope.Scope>) =>
    // the mailbox limit is the only middleware that our protocols have
    Context.merge(Context.merge(input, handlers), MailboxLimits.context(options)) as Context.Context<
      Scope.Scope | Rpc.ToHandler<Rpcs> | Rpc.Middleware<Rpcs>
    >
