// Small pictures of pages: PNG (RFC 2083) with a palette, one frame or several (APNG 1.0).
import { deflateSync, inflateSync, crc32 } from 'node:zlib';

/** Reads a picture of 8 bits a channel, as Chromium takes them: { width, height, rgb }, a number a pixel. */
export function decode(png) {
  const parts = [];
  let at = 8;
  let width, height, channels;
  while (at < png.length) {
    const length = png.readUInt32BE(at);
    const kind = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (kind === 'IHDR') {
      width = data.readUInt32BE(0);
      height = data.readUInt32BE(4);
      channels = { 2: 3, 6: 4 }[data[9]];
      if (data[8] !== 8 || !channels || data[12]) throw new Error('a picture of another kind than Chromium takes');
    } else if (kind === 'IDAT') parts.push(data);
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const line = width * channels;
  const rgb = new Uint32Array(width * height);
  let before = new Uint8Array(line);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (line + 1)];
    const now = raw.subarray(y * (line + 1) + 1, (y + 1) * (line + 1));
    for (let x = 0; x < line; x++) {
      const a = x < channels ? 0 : now[x - channels];
      const b = before[x];
      const c = x < channels ? 0 : before[x - channels];
      now[x] += filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : filter === 4 ? paeth(a, b, c) : 0;
    }
    for (let x = 0; x < width; x++) rgb[y * width + x] = (now[x * channels] << 16) | (now[x * channels + 1] << 8) | now[x * channels + 2];
    before = now;
  }
  return { width, height, rgb };
}

function paeth(a, b, c) {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** The colours that pictures are made of, at most 255: of like ones the one that there is most of. */
function palette(pictures) {
  const counts = new Map();
  for (const p of pictures) for (const c of p.rgb) counts.set(c, (counts.get(c) ?? 0) + 1);
  const like = new Map(); // 5 bits a channel: the colour that there is most of, and how much of all
  for (const [c, n] of counts) {
    const key = ((c >> 19) << 10) | (((c >> 11) & 31) << 5) | ((c >> 3) & 31);
    const was = like.get(key);
    if (!was) like.set(key, { c, most: n, all: n });
    else {
      was.all += n;
      if (n > was.most) [was.c, was.most] = [c, n];
    }
  }
  const colours = [...like.values()].sort((x, y) => y.all - x.all).slice(0, 255).map((l) => l.c);
  const known = new Map(colours.map((c, i) => [c, i]));
  const index = (c) => {
    let best = known.get(c);
    if (best === undefined) {
      let least = Infinity;
      colours.forEach((o, i) => {
        const d = ((o >> 16) - (c >> 16)) ** 2 + (((o >> 8) & 255) - ((c >> 8) & 255)) ** 2 + ((o & 255) - (c & 255)) ** 2;
        if (d < least) [least, best] = [d, i];
      });
      known.set(c, best);
    }
    return best;
  };
  return { colours, index };
}

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

const numbers = (...list) => {
  const b = Buffer.alloc(list.length * 4);
  list.forEach((n, i) => b.writeUInt32BE(n, i * 4));
  return b;
};

const clear = 255; // index of what was there before

/** Pixels of a part of a picture, compressed. */
function pixels(indices, width, box) {
  const lines = Buffer.alloc((box.w + 1) * box.h);
  for (let y = 0; y < box.h; y++) for (let x = 0; x < box.w; x++) lines[y * (box.w + 1) + 1 + x] = indices[(box.y + y) * width + box.x + x];
  return deflateSync(lines, { level: 9, memLevel: 9 });
}

/** One picture, or, of several frames { png, ms }, an animation that begins again at its end. */
export function encode(frames) {
  const pictures = frames.map((f) => decode(f.png));
  const { width, height } = pictures[0];
  const { colours, index } = palette(pictures);
  const table = Buffer.alloc(256 * 3);
  colours.forEach((c, i) => table.writeUIntBE(c, i * 3, 3));
  const head = Buffer.concat([numbers(width, height), Buffer.from([8, 3, 0, 0, 0])]);
  const alpha = Buffer.alloc(256, 255);
  alpha[clear] = 0;
  const out = [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head)];

  // What a frame changes; a frame that changes nothing makes the one before longer.
  const shown = [];
  let before = null;
  pictures.forEach((p, i) => {
    const now = Uint8Array.from(p.rgb, index);
    let box = { x: 0, y: 0, w: width, h: height };
    let drawn = now;
    if (before) {
      let [left, top, right, bottom] = [width, height, -1, -1];
      drawn = new Uint8Array(now.length).fill(clear);
      for (let k = 0; k < now.length; k++) {
        if (now[k] === before[k]) continue;
        drawn[k] = now[k];
        const [x, y] = [k % width, Math.floor(k / width)];
        [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
      }
      if (right < 0) {
        shown.at(-1).ms += frames[i].ms;
        return;
      }
      box = { x: left, y: top, w: right - left + 1, h: bottom - top + 1 };
    }
    shown.push({ box, ms: frames[i].ms, data: pixels(drawn, width, box) });
    before = now;
  });

  const many = shown.length > 1;
  if (many) out.push(chunk('acTL', numbers(shown.length, 0)));
  out.push(chunk('PLTE', table));
  if (many) out.push(chunk('tRNS', alpha));
  let sequence = 0;
  shown.forEach(({ box, ms, data }, i) => {
    if (many) {
      const delay = Buffer.alloc(6);
      delay.writeUInt16BE(Math.min(ms, 65535), 0);
      delay.writeUInt16BE(1000, 2);
      delay[5] = i ? 1 : 0; // over what was there
      out.push(chunk('fcTL', Buffer.concat([numbers(sequence++, box.w, box.h, box.x, box.y), delay])));
    }
    out.push(i ? chunk('fdAT', Buffer.concat([numbers(sequence++), data])) : chunk('IDAT', data));
  });
  out.push(chunk('IEND', Buffer.alloc(0)));
  return Buffer.concat(out);
}
