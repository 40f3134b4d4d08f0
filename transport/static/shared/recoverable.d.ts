import type { Channel, Push, Socket } from "phoenix";

/** What the server says of a join. */
export interface Recovery {
  /** Another one when the server has lost the history of the topic. */
  epoch: string;
  /** Where the topic stood at the join. */
  offset: number;
  /** Whether everything that was missed follows; if not, load the state again. */
  recovered: boolean;
  /** How many broadcasts were missed, and follow. */
  count: number;
}

export interface RecoverableChannel extends Channel {
  /** The answer to the last join; undefined before it, or if the server keeps no history. */
  readonly recovery?: Recovery;
  /** Whether a broadcast was missed and has followed a join; `ref` is the second argument of the callback. */
  isRecovered(ref: unknown): boolean;
  /** As `on` of phoenix.js, whose published types leave out the second argument. */
  on(event: string, callback: (payload: any, ref: any, joinRef: any) => void | Promise<void>): number;
  /**
   * A push that is sent again after each rejoin, until it is answered or `timeout` milliseconds have passed, and that a channel
   * with an `idempotency` handles once. `key` is drawn at random; give the same one to make the same push again.
   */
  pushOnce(event: string, payload: object | ArrayBuffer, timeout?: number, key?: string): Push;
}

/** A channel of phoenix.js that misses nothing over a reconnect, or is told so. */
export function recoverable(socket: Socket, topic: string, params?: object | (() => object)): RecoverableChannel;
