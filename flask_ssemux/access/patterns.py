p='flask_ssemux/brokers/redis/line.py'; s=open(p).read()
s=s.replace("from .trouble import Refused, short\n","from .trouble import Refused\n")
s=s.replace("#: Calls that wait for their answers at a time, at most. One thousandth of them would be a busy process's.\nMOST = 20000","#: Calls that wait for their answers at a time, at most: two seconds' work of a Redis server.\nMOST = 20000")
a=s.index("    # -- what the leader does"); 
s=s[:a]+'''    # -- what the leader does ----------------------------------------------

    def _exchange(self) -> None:
        """Send what waits, and take an answer."""
        try:
            self._drop_late()
            if self._connection is None and self.waiting:
                self._connect()
            self._send()
            if self._sent:
                self._receive()
        except (driver.RedisError, OSError) as error:
            self._recover(error)

    def _drain(self) -> None:
        """Hand out the answers that are there: in a busy loop each new leader would wait for its turn."""
        try:
            while self._sent and self._connection.can_read(0):
                self._receive()
        except (driver.RedisError, OSError):
            self._break_off()

    def _drop_late(self) -> None:
        """Calls that could not be sent in their time; they are in the order of their deadlines."""
        now = time.monotonic()
        while self._unsent and self._unsent[0].deadline < now:
            self._fail(1, "busy for %g s" % WAIT)

    def _connect(self) -> None:
        self._connection = self._address.connect(self._unsent[0].deadline)
        self._loaded.clear()
        self._doubted_until = None
        self._used_at = time.monotonic()

    def _send(self) -> None:
        pieces: list[bytes] = []
        now = time.monotonic()
        with self._lock:
            while self._unsent and len(self._sent) < self._window:
                call = self._unsent.popleft()
                if not call.is_abandoned:
                    self._pack(call, pieces)
                    call.deadline = max(call.deadline, now + WAIT / 2)
        if pieces:
            if now - self._used_at > IDLE and self._doubted_until is None:
                self._doubted_until = now + LOOK
            self._connection.send_packed_command([b"".join(pieces)])

    def _pack(self, call: Call, pieces: list[bytes]) -> None:
        try:
            pieces += self._connection.pack_command(*self._command(call.script), *call.values)
            self._sent.append(call)
        except Exception as error:  # the caller's values: nobody else's fault
            call.finish(error)

    def _command(self, script: Script) -> tuple[str, str]:
        """By its hash where this connection has sent its text: the server knows it then, and the order is kept."""
        if script.hash in self._loaded:
            return "EVALSHA", script.hash
        self._loaded.add(script.hash)
        return "EVAL", script.text

    def _receive(self) -> None:
        until = self._sent[0].deadline
        if self._doubted_until is not None:
            until = min(until, self._doubted_until)
        if not self._connection.can_read(max(0.0, until - time.monotonic())):
            raise driver.TimeoutError("no answer for %g s" % WAIT)
        answer = self._read()
        self._used_at, self._doubted_until, self._pause = time.monotonic(), None, PAUSE
        with self._lock:
            self._sent.popleft().finish(answer)

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except driver.ResponseError as error:
            if _is_of_connection(error):
                raise
            return Refused(self._address.shown, str(error))

    def _recover(self, error: Exception) -> None:
        """The connection failed: what has time left is asked again on a new one, after a pause where that may help."""
        was_doubted = self._doubted_until is not None
        self._break_off()
        now, some = time.monotonic(), len(self._unsent)
        if isinstance(error, driver.AuthenticationError) or _is_of_login(error):
            self._fail(some, error)
        elif isinstance(error, driver.TimeoutError):
            self._fail(self._count_before(now + LEAST / 2), error)
        elif not was_doubted and not isinstance(error, driver.exceptions.NoScriptError):
            self._fail(self._count_before(now + self._pause), error)
            if self.waiting:
                time.sleep(self._pause)
                self._pause = min(self._pause * 2, 5 * PAUSE)

    def _count_before(self, moment: float) -> int:
        return sum(call.deadline < moment for call in list(self._unsent))

    def _fail(self, count: int, error: object) -> None:
        """End the first calls that are not sent."""
        with self._lock:
            for _ in range(min(count, len(self._unsent))):
                self._unsent.popleft().finish(Refused(self._address.shown, str(error)))

    def _break_off(self) -> None:
        """Hang up; what was sent and not answered is sent again, in its order and before all else."""
        self._hang_up()
        with self._lock:
            left = [call for call in (*self._sent, *self._unsent) if not call.is_abandoned]
            self._sent.clear()
            self._unsent = deque(left)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _is_of_connection(error: Exception) -> bool:
    """Whether another connection may answer otherwise: a master that is a replica now, a server without the script."""
    return "READONLY" in str(error) or isinstance(error, (driver.ReadOnlyError, driver.exceptions.NoScriptError))


def _is_of_login(error: Exception) -> bool:
    """Whether the server refused the connection's first commands."""
    return isinstance(error, driver.ResponseError) and not _is_of_connection(error)
'''
s=s.replace('''            while not call.is_done:
                self._exchange()
        except BaseException:''','''            while not call.is_done:
                self._exchange()
            self._drain()
        except BaseException:''')
s=s.replace('''            self._abandon(call)
            with self._lock:
                if not self._is_led:''','''            call.is_abandoned = True
            with self._lock:
                if not self._is_led:''')
s=s.replace('''            self._abandon(call)
            self._break_off()''','''            call.is_abandoned = True
            self._break_off()''')
s=s.replace('''    def _abandon(self, call: Call) -> None:
        call.is_abandoned = True

''','')
s=s.replace('the Redis store %s: %d calls wait for it already" % (self._shown, MOST)','the Redis store %s: %d calls wait for it already" % (self._address.shown, MOST)')
open(p,'w').write(s)
p='flask_ssemux/brokers/redis/address.py'; s=open(p).read()
s=s.replace('''    if "protocol" in known:
        settings["protocol"] = 2
''','''    if "protocol" in known:
        settings["protocol"] = 2
    if "socket_keepalive_options" in known:
        settings["socket_keepalive"] = True
        settings["socket_keepalive_options"] = _keepalive()
''')
s=s.replace('''def _parameters(kind: Any)''','''def _keepalive() -> dict[int, int]:
    """What keeps a NAT or a load balancer from forgetting an idle connection, as far as this system has it."""
    seconds = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in seconds.items() if hasattr(socket, name)}


def _parameters(kind: Any)''')
s=s.replace("import inspect\nimport time","import inspect\nimport socket\nimport time")
s=s.replace('''    made.connection_kwargs.update(options, decode''','''    options.update((name, value) for name, value in made.connection_kwargs.items() if name.startswith("socket_keepalive"))
    made.connection_kwargs.update(options, decode''')
open(p,'w').write(s)
