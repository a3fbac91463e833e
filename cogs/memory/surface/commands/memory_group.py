"""`/memory`: one group with the commands for everyone, for the server's admins and for the bot's owner.

Discord hides a command as a whole by ``default_member_permissions``, never one of its parts: as everyone has commands
in here, everyone sees the others too. Each of them says in the menu whom it is for, and checks who asks. A second
``memory`` registered on each server, hidden and with the admins' part alone, would hide them; but it takes a request
for each server at each change, and where one fails the admins would have no commands. Who wants them out of sight can
restrict the whole group by role under *Integrations* in the server's settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import app_commands
from discord.app_commands import locale_str

from .admin import AdminCommands
from .admin_ranking import RankingCommands
from .owner import OwnerCommands
from .personal import PersonalCommands

if TYPE_CHECKING:
    from .command_services import CommandServices


def memory_group(services: CommandServices) -> app_commands.Group:
    """Return the group with its commands, to be added to a command tree."""
    memory = app_commands.Group(
        name="memory", description=locale_str("What is remembered here, and what not"), guild_only=True
    )
    forget = app_commands.Group(name="forget", description=locale_str("Erase what is stored, for good"), parent=memory)
    channels = app_commands.Group(
        name="channels", description=locale_str("Which channels are remembered"), parent=memory
    )
    PersonalCommands(services).add_to(memory, forget)
    AdminCommands(services).add_to(memory, forget, channels)
    RankingCommands(services).add_to(memory)
    OwnerCommands(services).add_to(memory)
    return memory
