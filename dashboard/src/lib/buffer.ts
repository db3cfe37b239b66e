/** What a library for Node takes to be there. It is imported before the library. */
import { Buffer } from 'buffer';

const all = globalThis as { Buffer?: unknown; global?: unknown; process?: unknown };
all.Buffer ??= Buffer;
all.global ??= globalThis;
all.process ??= { env: {} };
