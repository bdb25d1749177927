/**
 * Lines that are said to a service from inside of a network namespace and come back, on a connection that stays: what it was told to
 * say, and in which order the answers came, is in the test's hands outside.
 */
import { linesOf } from "../../tools/test_output.ts";
import type { Namespace } from "./tun_fixture.ts";

/** Answers every line with itself, on TCP and UDP of one free port, which it prints. */
const SERVICE = `
import socket, socketserver, threading
class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(b"%d " % self.client_address[1] + data, self.client_address)
socketserver.ThreadingTCPServer.daemon_threads = True
tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tcp)
udp = socketserver.UDPServer(("127.0.0.1", tcp.server_address[1]), Udp)
threading.Thread(target=udp.serve_forever, daemon=True).start()
print(tcp.server_address[1], flush=True)
tcp.serve_forever()
`;
/** Says the words of its input in datagrams from one port, each until it is answered, and prints from whom the service heard it. */
const UDP_CLIENT = `
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("127.0.0.1", int(sys.argv[1])))
sock.settimeout(1)
for line in sys.stdin:
    word = line.strip().encode()
    port = b"nobody"
    for _ in range(90):
        try:
            sock.send(word)
            port, answer = sock.recv(65536).split(b" ", 1)
            if answer == word:
                break
        except (TimeoutError, ConnectionRefusedError):
            pass
    print(port.decode(), flush=True)
`;
/** Says the lines of its input on one connection, and prints whether each answer is the same; ends when one does not come. */
const CLIENT = `
import socket, sys
stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=90).makefile("rwb")
for line in sys.stdin:
    word, times = line.split()
    stream.write((word * int(times)).encode() + b"\\n")
    stream.flush()
    answer = stream.readline().decode().strip()
    print(answer == word * int(times), flush=True)
`;

/** One program with lines in and out. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(namespace: Namespace, text: string, ...args: readonly string[]) {
    this.#child = new Deno.Command("nsenter", {
      args: [`--net=/proc/${namespace.pid}/ns/net`, "python3", "-B", "-c", text, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#lines = linesOf(this.#child.stdout);
    this.#writer = this.#child.stdin.getWriter();
  }

  async write(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  async read(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the program in the namespace ended");
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await this.#child.status;
    await this.#lines.return(undefined);
    await this.#writer.abort().catch(() => {});
  }
}

/** A service in the namespace. */
export class LineService implements AsyncDisposable {
  readonly port: number;
  readonly #program: Program;

  private constructor(program: Program, port: number) {
    this.#program = program;
    this.port = port;
  }

  static async start(namespace: Namespace): Promise<LineService> {
    const program = new Program(namespace, SERVICE);
    return new LineService(program, Number(await program.read()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** One connection to a port in the namespace. */
export class Conversation implements AsyncDisposable {
  readonly #program: Program;

  constructor(namespace: Namespace, port: number) {
    this.#program = new Program(namespace, CLIENT, `${port}`);
  }

  /** Says a line of this word, so many times, and waits for the answer. Returns whether it is the same; throws when the connection ends. */
  async say(word: string, times = 1): Promise<boolean> {
    await this.#program.write(`${word} ${times}`);
    return await this.#program.read() === "True";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** Datagrams from one local port to a port in the namespace. */
export class UdpConversation implements AsyncDisposable {
  readonly #program: Program;

  constructor(namespace: Namespace, port: number) {
    this.#program = new Program(namespace, UDP_CLIENT, `${port}`);
  }

  /** Says a word until it is answered, and returns the port from which the service heard it: for one flow it is always the same. */
  async say(word: string): Promise<string> {
    await this.#program.write(word);
    return await this.#program.read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}
