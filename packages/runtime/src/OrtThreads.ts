/** How the threads of a session share its work, the same for both ways to the runtime. */

/**
 * Settings of a session by the runtime's names.
 *
 * A thread that waits for its next operator spins for a moment before it sleeps: the gaps within a run are shorter than it takes to wake
 * one, and a token's run has hundreds. Threads that spin on, as they do unasked, take the cores from other replicas, and from this
 * process between two runs. Work is shared out in blocks that get smaller, so that a thread which lost its core for a while isn't waited
 * for with a half of every product left.
 *
 * Source: https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h
 */
export const THREAD_SETTINGS: Readonly<Record<string, string>> = {
  "session.intra_op.allow_spinning": "1",
  "session.intra_op.spin_duration_us": "50",
  "session.force_spinning_stop": "1",
  "session.dynamic_block_base": "4"
}
