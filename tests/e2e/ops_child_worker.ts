/** A thread that does nothing. */
setInterval(() => {}, 1_000_000);
