"""A small bot that uses each feature of discord.py once, for the loopback's own tests. Also runs as a program."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands

Context = discord.Interaction[Any]


def intents(*, content: bool = True, members: bool = True) -> discord.Intents:
    """The default intents, with or without the privileged ones."""
    wanted = discord.Intents.default()
    wanted.message_content = content
    wanted.members = members
    return wanted


class TeaModal(discord.ui.Modal, title="Order tea"):
    """Asks for a kind of tea."""

    kind: discord.ui.TextInput[TeaModal] = discord.ui.TextInput(label="Kind of tea", custom_id="kind", max_length=20)
    milk: discord.ui.Label[TeaModal] = discord.ui.Label(
        text="Milk",
        component=discord.ui.Select(
            custom_id="milk", options=[discord.SelectOption(label=each) for each in ("none", "oat", "cow")]
        ),
    )

    async def on_submit(self, interaction: Context) -> None:
        """Confirm the order."""
        milk = cast("discord.ui.Select[TeaModal]", self.milk.component).values[0]
        await interaction.response.send_message(f"One {self.kind.value} with {milk}, please.", ephemeral=True)


class Pages(discord.ui.View):
    """Buttons that turn pages, a menu, and a button that opens a modal."""

    page = 1

    @discord.ui.button(label="Next", custom_id="next")
    async def forward(self, interaction: Context, _: discord.ui.Button[Pages]) -> None:
        """Turn the page."""
        self.page += 1
        await interaction.response.edit_message(content=f"page {self.page}", view=self)

    @discord.ui.button(label="Order", custom_id="order")
    async def order(self, interaction: Context, _: discord.ui.Button[Pages]) -> None:
        """Ask what tea."""
        await interaction.response.send_modal(TeaModal())

    @discord.ui.button(label="Later", custom_id="later", disabled=True)
    async def later(self, interaction: Context, _: discord.ui.Button[Pages]) -> None:
        """Never pressed: the button is disabled."""

    @discord.ui.select(
        placeholder="Colour",
        options=[discord.SelectOption(label="Green", value="g"), discord.SelectOption(label="Black", value="b")],
    )
    async def colour(self, interaction: Context, select: discord.ui.Select[Pages]) -> None:
        """Tell the choice."""
        await interaction.response.defer()
        await interaction.followup.send(f"chose {select.values[0]}", ephemeral=True)


memory = app_commands.Group(name="memory", description="What is stored")
forget = app_commands.Group(name="forget", description="Forget things", parent=memory)


@forget.command(name="me", description="Forget what I said")
async def forget_me(interaction: Context) -> None:
    """Answer at once, to the user alone."""
    await interaction.response.send_message(f"Forgotten, {interaction.user.name}.", ephemeral=True)


@memory.command(name="reload", description="Load again")
async def reload(interaction: Context) -> None:
    """Wait without answering, so long that the token dies."""
    await asyncio.sleep(float(os.environ.get("SLOW", "3.2")))
    await interaction.response.defer()


@app_commands.command(description="Find what was said")
@app_commands.describe(query="What to look for")
async def recall(
    interaction: Context,
    query: str,
    limit: app_commands.Range[int, 1, 10] = 5,
    author: discord.Member | None = None,
    channel: discord.TextChannel | None = None,
) -> None:
    """Defer, then show what was asked, with buttons and a file."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await interaction.edit_original_response(content="searching…")
    embed = discord.Embed(title=query, description=f"limit {limit}")
    embed.add_field(name="author", value=author.display_name if author else "anybody")
    embed.add_field(name="channel", value=channel.name if channel else "anywhere")
    report = discord.File(io.BytesIO(query.encode()), filename="report.txt")
    await interaction.edit_original_response(content="page 1", embed=embed, view=Pages(), attachments=[report])


@recall.autocomplete("query")
async def suggest(_: Context, current: str) -> list[app_commands.Choice[str]]:
    """Offer what starts like this."""
    past = ["tea time", "tea leaves", "coffee"]
    return [app_commands.Choice(name=each, value=each) for each in past if each.startswith(current)]


@app_commands.command(description="Only for those who manage the server")
@app_commands.default_permissions(manage_guild=True)
async def admin(interaction: Context) -> None:
    """Refuse in code too."""
    allowed = interaction.permissions.manage_guild
    await interaction.response.send_message("done" if allowed else "refused", ephemeral=True)


@app_commands.context_menu(name="Find related")
async def find_related(interaction: Context, message: discord.Message) -> None:
    """Tell which message was meant."""
    await interaction.response.send_message(f"related to {message.content!r} by {message.author.name}")


@app_commands.context_menu(name="Greet")
async def greet(interaction: Context, member: discord.Member) -> None:
    """Tell whom was meant."""
    await interaction.response.send_message(f"hello {member.mention}", ephemeral=True)


_COMMANDS: list[Any] = [memory, recall, admin, find_related, greet]


class ExampleBot(commands.AutoShardedBot):
    """Registers the commands and keeps a list of the events it saw."""

    def __init__(self, wanted: discord.Intents | None = None) -> None:
        super().__init__("!", intents=wanted or intents(), allowed_mentions=discord.AllowedMentions.none())
        self.seen: list[tuple[Any, ...]] = []
        for command in _COMMANDS:
            self.tree.add_command(command)

    async def setup_hook(self) -> None:
        """Register the commands and close cleanly on SIGTERM."""
        await self.tree.sync()
        loop = asyncio.get_running_loop()
        self._ending: list[asyncio.Task[None]] = []
        loop.add_signal_handler(signal.SIGTERM, lambda: self._ending.append(loop.create_task(self.close())))

    async def on_message(self, message: discord.Message) -> None:
        """Note a message."""
        self.seen.append(("create", message.id, message.content))

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Note an edit."""
        self.seen.append(("edit", event.message_id, event.message.content))

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Note a deletion."""
        self.seen.append(("delete", event.message_id))

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Note a bulk deletion."""
        self.seen.append(("bulk", *sorted(event.message_ids)))

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Note a kick."""
        self.seen.append(("kicked", guild.id))

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """Note an outage."""
        self.seen.append(("outage", guild.id))

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Note an invitation."""
        self.seen.append(("joined", guild.id))

    async def on_resumed(self) -> None:
        """Note a resumed session."""
        self.seen.append(("resumed",))


if __name__ == "__main__":
    ExampleBot().run(os.environ["DISCORD_TOKEN"])
