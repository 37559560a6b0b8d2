# A user of slixmpp in a process of its own, which resumes its session whenever the connection breaks. It prints what
# happens, a line each: `online JID`, `resumed`, `failed`, `message BODY`; a line `send JID BODY` on its standard input is
# sent as a message. Usage: sm-library-child.py HOST PORT DOMAIN USERNAME PASSWORD CA-FILE

import asyncio
import sys

import slixmpp

from slixmpp_orders import obey_orders

host, port, domain, username, password, ca_file = sys.argv[1:]


def say(line):
    print(line, flush=True)


class Client(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(f"{username}@{domain}/lib", password)
        self.ca_certs = ca_file
        self.register_plugin("xep_0198")
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("session_resumed", lambda _: say("resumed"))
        self.add_event_handler("sm_failed", lambda _: say("failed"))
        self.add_event_handler("message", lambda message: say(f"message {message['body']}"))
        self.add_event_handler("disconnected", self.on_disconnected)

    def on_start(self, _):
        self.send_presence()
        say(f"online {self.boundjid.full}")

    def obey(self, order):
        _, to, body = order.split()
        self.send_message(mto=to, mbody=body, mtype="chat")

    def on_disconnected(self, _):
        asyncio.get_event_loop().call_later(0.2, lambda: self.connect(address=(host, int(port))))


client = Client()
obey_orders(client, host, port, client.obey)
