"""gRPC from Python for tests: certificates of any role, messages made from proto/ at run time, calls by name.

    pki = Certificates(folder); api = Rpc(protos(folder), pki)
    api.call("127.0.0.1:9001", "harpoon.scheduler.v1.Scheduler/Status", {}, role="operator")
"""
import importlib
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory

ROOT = Path(__file__).resolve().parents[2]


class Certificates:
    """A private authority, and certificates for spiffe://harpoon/role/ROLE that are good on 127.0.0.1."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                      "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def role(self, name):
        """(certificate, key) of a role, made at the first asking."""
        pem, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if not pem.exists():
            extensions = self.folder / f"{name}.ext"
            extensions.write_text(f"subjectAltName=URI:spiffe://harpoon/role/{name},IP:127.0.0.1,DNS:localhost\n"
                                  "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
            self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                          f"/CN={name}", "-keyout", key.name, "-out", f"{name}.csr")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                          "-days", "2", "-extfile", extensions.name, "-out", pem.name)
        return pem, key

    def options(self, name):
        """What a daemon of ours is started with."""
        pem, key = self.role(name)
        return ["--tls-ca", str(self.ca), "--tls-certificate", str(pem), "--tls-key", str(key)]

    def _parts(self, name):
        pem, key = self.role(name)
        return self.ca.read_bytes(), key.read_bytes(), pem.read_bytes()

    def channel_credentials(self, name):
        return grpc.ssl_channel_credentials(*self._parts(name))

    def server_credentials(self, name):
        ca, key, pem = self._parts(name)
        return grpc.ssl_server_credentials([(key, pem)], ca, require_client_auth=True)


def load_protos(folder):
    """Makes Python of every .proto and imports it: its messages are then in the default pool."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(p.name for p in (ROOT / "proto").glob("*.proto"))
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", *files], check=True, cwd=ROOT / "proto")
    sys.path.insert(0, str(folder))
    for name in files:
        importlib.import_module(name.replace(".proto", "_pb2"))


def _method(name):
    service, method = name.split("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    classes = message_factory.MessageFactory(descriptor_pool.Default())
    return classes.GetPrototype(found.input_type), classes.GetPrototype(found.output_type)


def as_dict(message):
    """Every field is there; 64-bit numbers are numbers."""
    plain = json_format.MessageToDict(message, including_default_value_fields=True, preserving_proto_field_name=True)

    def numbers(fields, value):
        for field in fields:
            at = value.get(field.name)
            if at is None:
                continue
            many = field.label == field.LABEL_REPEATED
            if field.message_type is not None:
                for one in at if many else [at]:
                    numbers(field.message_type.fields, one)
            elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
                value[field.name] = [int(v) for v in at] if many else int(at)

    numbers(message.DESCRIPTOR.fields, plain)
    return plain


class Rpc:
    """Calls with dictionaries in and out. One channel per address and role."""

    def __init__(self, certificates):
        self.certificates, self.channels = certificates, {}

    def channel(self, address, role):
        if (address, role) not in self.channels:
            options = [("grpc.use_local_subchannel_pool", 1)]
            self.channels[address, role] = grpc.secure_channel(
                address, self.certificates.channel_credentials(role), options)
        return self.channels[address, role]

    def start(self, address, name, request, role="harpoon", timeout_s=5):
        """A call under way: .result() gives the message."""
        input_class, output_class = _method(name)
        call = self.channel(address, role).unary_unary(
            f"/{name}", request_serializer=input_class.SerializeToString, response_deserializer=output_class.FromString)
        return call.future(json_format.ParseDict(request, input_class()), timeout=timeout_s)

    def call(self, address, name, request, role="harpoon", timeout_s=5):
        try:
            return as_dict(self.start(address, name, request, role, timeout_s).result())
        except grpc.RpcError as e:
            if e.code() == grpc.StatusCode.UNAVAILABLE:
                self.forget(address)
            raise

    def forget(self, address):
        """Its channels back off and say so at once for a while: the next call opens another."""
        for key in [k for k in list(self.channels) if k[0] == address]:
            self.channels.pop(key, None)

    def close(self):
        self.channels.clear()


class Answering:
    """A server of one method: `answer(request as dict)` gives the reply as dict, or raises."""

    def __init__(self, certificates, role, name, answer):
        input_class, output_class = _method(name)
        service, method = name.split("/")

        def handle(message, context):
            return json_format.ParseDict(answer(as_dict(message)), output_class())

        handler = grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=input_class.FromString, response_serializer=output_class.SerializeToString)
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self.port = self.server.add_secure_port("127.0.0.1:0", certificates.server_credentials(role))
        self.server.start()

    def stop(self):
        self.server.stop(None).wait()
