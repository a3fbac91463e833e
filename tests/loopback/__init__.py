"""A Discord on 127.0.0.1 for tests: the real protocol, so that the real bot can be driven. See README.md."""

from .channels import Channel, ChannelKind
from .errors import HiddenCommandError, UserError
from .faults import Delay, Drop, Faults, Hold, RateLimited, Status
from .guilds import Guild
from .interactions import Interaction
from .launch import BotProcess, patched_discord, running
from .messages import Attachment, Message
from .people import Member, Role, User
from .permissions import DEFAULT_BOT, DEFAULT_EVERYONE, Overwrite, Permission, allow, deny
from .server import TOKEN, LoopbackDiscord
from .threads import Thread
from .world import World

__all__ = [
    "DEFAULT_BOT",
    "DEFAULT_EVERYONE",
    "TOKEN",
    "Attachment",
    "BotProcess",
    "Channel",
    "ChannelKind",
    "Delay",
    "Drop",
    "Faults",
    "Guild",
    "HiddenCommandError",
    "Hold",
    "Interaction",
    "LoopbackDiscord",
    "Member",
    "Message",
    "Overwrite",
    "Permission",
    "RateLimited",
    "Role",
    "Status",
    "Thread",
    "User",
    "UserError",
    "World",
    "allow",
    "deny",
    "patched_discord",
    "running",
]
