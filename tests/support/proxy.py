"""A TCP proxy that can be cut, and that can let one large answer through and hold what follows."""
import socket
import threading


class Proxy:
    """Forwards 127.0.0.1:port to `target`. Downstream is from the target to the client."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.lock = threading.Lock()
        self.pairs = []            # guarded by lock
        self.is_cut = False        # guarded by lock
        self.hold_after = None     # guarded by lock: bytes; a downstream chunk as large passes, what follows is held
        self.holding = False       # guarded by lock
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Ends every connection and refuses new ones."""
        with self.lock:
            self.is_cut = True
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self._close(pair)

    def restore(self):
        with self.lock:
            self.is_cut, self.hold_after, self.holding = False, None, False

    def hold_after_chunk(self, size):
        """From now on: the first downstream chunk of at least `size` bytes passes, and nothing downstream after it."""
        with self.lock:
            self.hold_after, self.holding = size, False

    def is_holding(self):
        with self.lock:
            return self.holding

    def close(self):
        self.cut()
        self.listener.close()

    @staticmethod
    def _close(pair):
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                cut = self.is_cut
            if cut:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self.lock:
                self.pairs.append(pair)
            threading.Thread(target=self._pump, args=(pair, client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, server, client, True), daemon=True).start()

    def _may_pass(self, size):
        with self.lock:
            if self.holding:
                return False
            if self.hold_after is not None and size >= self.hold_after:
                self.holding = True
            return True

    def _pump(self, pair, source, sink, downstream):
        try:
            while True:
                chunk = source.recv(65536)
                if not chunk:
                    break
                if downstream and not self._may_pass(len(chunk)):
                    continue  # held for ever: this connection is cut before anything else may pass
                sink.sendall(chunk)
        except OSError:
            pass
        self._close(pair)
