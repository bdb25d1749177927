// Types for assert/mod.js of the npm package deno-std 1.4.0, which ships none. Only what our tests use; add a line when you need one.

// deno-lint-ignore no-explicit-any -- a constructor's arguments are contravariant: only `any` accepts every class
type AnyConstructor<T> = abstract new (...args: any[]) => T;

/** What a failed assertion throws. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions);
}

/** Fails unless `expr` is truthy; narrows it for the lines that follow. */
export function assert(expr: unknown, msg?: string): asserts expr;
/** Fails unless `expr` is falsy; narrows it for the lines that follow. */
export function assertFalse(expr: unknown, msg?: string): asserts expr is false | 0 | "" | null | undefined;
/** Fails always. */
export function fail(msg?: string): never;
/** Fails always: marks a branch that no input may reach. */
export function unreachable(msg?: string): never;

/** Deep equality by value, also of maps, sets, dates and typed arrays. */
export function equal(a: unknown, b: unknown): boolean;
/** Fails unless both are deeply equal by value; the message holds the difference. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void;
/** Fails when both are deeply equal by value. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
/** Fails unless `Object.is` holds; narrows `actual`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T;
/** Fails when `Object.is` holds. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
/** Fails unless the numbers differ by no more than `tolerance` (default: 1e-7 of `expected`). */
export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void;

/** Fails on null and undefined; narrows. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
/** Fails unless `actual` is an instance of the class; narrows. */
export function assertInstanceOf<T>(actual: unknown, expectedType: AnyConstructor<T>, msg?: string): asserts actual is T;
/** Fails when `actual` is an instance of the class. */
export function assertNotInstanceOf<A, T>(
  actual: A,
  unexpectedType: AnyConstructor<T>,
  msg?: string,
): asserts actual is Exclude<A, T>;
/** Fails unless `error` is an Error (of the class, with the words in its message); narrows. */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  errorClass?: AnyConstructor<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E;

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void;
/** Fails unless the expression matches. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void;
/** Fails when the expression matches. */
export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
/** Fails unless every element of `expected` is in `actual`, in any order. */
export function assertArrayIncludes<T>(actual: ArrayLike<T>, expected: ArrayLike<T>, msg?: string): void;
/** Fails unless every property of `expected` is in `actual` with an equal value. */
export function assertObjectMatch(actual: object, expected: object, msg?: string): void;
/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void;
/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
/** Fails unless `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void;
/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;

/** Fails unless `fn` throws; gives back what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Fails unless `fn` throws an instance of the class whose message contains `msgIncludes`; gives the error back. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass: AnyConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
/** Fails unless the promise of `fn` rejects; gives the reason back. A synchronous throw is a failure. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Fails unless the promise of `fn` rejects with an instance of the class whose message contains `msgIncludes`; gives the error back. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: AnyConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
