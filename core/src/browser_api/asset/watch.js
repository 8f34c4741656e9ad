// Watches a worker, and comes back after a loss by the range of the close code. Returns what stops it.
export function watch(url, onFrame, { token, cursor, pause = 250 } = {}) {
  let socket, timer;
  const open = () => {
    const protocols = token ? ["sekisho.v1", `bearer.${token}`] : ["sekisho.v1"];
    socket = new WebSocket(cursor ? `${url}?cursor=${cursor}` : url, protocols);
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.kind === "event") { cursor = frame.envelope.cursor; pause = 250; }
      onFrame(frame);
    };
    socket.onclose = ({ code }) => {
      if (code === 1008 || code >= 4500) return onFrame({ kind: "end", code });
      if (code >= 4400) cursor = undefined;
      timer = setTimeout(open, pause);
      pause = Math.min(pause * 2, 30000);
    };
  };
  open();
  return () => { clearTimeout(timer); socket.onclose = null; socket.close(); };
}
