"""The attention blocks of PLACE: the Visual Pathology Observation Extractor and the head that
predicts correlations."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


class CrossAttention(nn.Module):
    """Pre-norm multi-head attention of queries [B, Q, D] to a context [B, N, D].

    `competing`: the softmax runs over the queries, and what each query won is then scaled to sum to
    one (slot attention, Locatello et al. 2020): a token read by one query is left to it by the
    others.
    """

    def __init__(self, width: int, heads: int, competing: bool = False) -> None:
        super().__init__()
        self.norm_queries = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.competing = competing

    def forward(
        self,
        queries: torch.Tensor,
        context: torch.Tensor,
        mask: torch.Tensor | None = None,
        maps: bool = False,
        nearness: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what the queries read [B, Q, D], and where they read it [B, Q, N] (mean of the
        heads) when asked.

        mask [B, N]: true where the context may be read; nearness [Q, N] is added to the logits of
        the attention.
        """
        if self.competing:
            return self._compete(queries, context, mask, nearness)
        hidden = None if mask is None else ~mask
        keys = self.norm_context(context)
        return self.attention(
            self.norm_queries(queries),
            keys,
            keys,
            key_padding_mask=hidden,
            need_weights=maps,
            attn_mask=nearness,
        )

    def _compete(
        self,
        queries: torch.Tensor,
        context: torch.Tensor,
        mask: torch.Tensor | None,
        nearness: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        attention = self.attention
        normed = self.norm_context(context)
        weights = attention.in_proj_weight.chunk(3)
        biases = attention.in_proj_bias.chunk(3)
        inputs = (self.norm_queries(queries), normed, normed)
        query, key, value = (
            functional.linear(x, w, b).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
            for x, w, b in zip(inputs, weights, biases, strict=True)
        )
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        scores = scores if nearness is None else scores + nearness
        won = scores.float().softmax(2)
        won = won if mask is None else won * mask[:, None, None]
        maps = won / won.sum(3, keepdim=True).clamp(min=1e-6)
        read = (maps.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attention.out_proj(read), maps.mean(1)


class FeedForward(nn.Module):
    """Pre-norm feed-forward block of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens with the block's output added."""
        return tokens + self.layers(tokens)


class Anchors(nn.Module):
    """A place on the image for every query, from which its attention falls off like a Gaussian.

    Places (shares of height and width) start on a square grid, widths at its spacing; both are
    learned.
    """

    def __init__(self, queries: int) -> None:
        super().__init__()
        columns = math.ceil(math.sqrt(queries))
        rows = math.ceil(queries / columns)
        places = [
            ((number // columns + 0.5) / rows, (number % columns + 0.5) / columns)
            for number in range(queries)
        ]
        self.places = nn.Parameter(torch.tensor(places))
        self.log_widths = nn.Parameter(torch.full((queries,), -math.log(columns)))

    def forward(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return -distance^2 / (2 width^2) of every query to every patch, [Q, h * w]."""
        centres = [(torch.arange(size, device=self.places.device) + 0.5) / size for size in grid]
        patches = torch.cartesian_prod(*centres)
        distances = (self.places[:, None] - patches).square().sum(2)
        return -distances / (2 * (2 * self.log_widths).exp()[:, None])


class ObservationExtractor(nn.Module):
    """VPOE: learnable query tokens read the localized tokens of one modality and give one
    representation each.

    Layers of {self-attention, cross-attention, feed-forward}; tokens [B, N, D] in, observations [B,
    K, width] out. With `read_only` the last layer's observations are what its queries read, without
    the queries themselves.
    """

    def __init__(
        self,
        token_dim: int,
        width: int,
        queries: int,
        layers: int,
        heads: int,
        competing: bool = False,
        read_only: bool = False,
    ) -> None:
        super().__init__()
        # As large as what a layer adds: small queries are drowned by what they all read, and end up
        # equal to each other.
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.project = nn.Linear(token_dim, width)
        self.own = nn.ModuleList(CrossAttention(width, heads) for _ in range(layers))
        self.cross = nn.ModuleList(CrossAttention(width, heads, competing) for _ in range(layers))
        self.forward_blocks = nn.ModuleList(FeedForward(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.read_only = read_only

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        maps: bool = False,
        nearness: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return observations [B, K, width] and, when asked, the attention maps of the last layer
        [B, K, N]. `nearness` [K, N] is added to the attention's logits in every layer."""
        context = self.project(tokens)
        context = context if positions is None else context + positions
        observations = self.queries.expand(len(tokens), -1, -1)
        weights = None
        layers = zip(self.own, self.cross, self.forward_blocks, strict=True)
        for number, (attend, cross, block) in enumerate(layers, start=1):
            observations = observations + attend(observations, observations)[0]
            read, weights = cross(observations, context, mask, maps, nearness)
            last = number == len(self.cross)
            observations = block(read if last and self.read_only else observations + read)
        return self.norm(observations), weights


class CorrelationHead(nn.Module):
    """CCE: patches, some of them hidden, read the report and predict rows whose correlation is the
    image's.

    One cross-attention layer. Positions are added, since a hidden patch has nothing else to tell it
    apart.
    """

    def __init__(self, patch_dim: int, text_dim: int, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Linear(patch_dim, width)
        self.text = nn.Linear(text_dim, width)
        self.hidden_patch = nn.Parameter(torch.randn(width) * 0.02)
        self.cross = CrossAttention(width, heads)
        self.block = FeedForward(width)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def forward(
        self,
        patches: torch.Tensor,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        states: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Return h [B, N, out] from patches [B, N, D], hidden [B, N] bool, token states [B, L, T]
        and their mask [B, L]."""
        tokens = (
            torch.where(hidden[:, :, None], self.hidden_patch, self.patches(patches)) + positions
        )
        read, _ = self.cross(tokens, self.text(states), mask)
        return self.out(self.block(tokens + read))


def positions_2d(grid: tuple[int, int], width: int, device: torch.device) -> torch.Tensor:
    """Return fixed sine-cosine positions [h * w, width]: half the width for the row, half for the
    column (width % 4 == 0)."""
    quarter = width // 4
    rates = torch.exp(torch.arange(quarter, device=device) * (-math.log(10000.0) / quarter))
    rows, columns = (torch.arange(size, device=device)[:, None] * rates for size in grid)
    row_part = torch.cat([rows.sin(), rows.cos()], 1)[:, None].expand(-1, grid[1], -1)
    column_part = torch.cat([columns.sin(), columns.cos()], 1)[None].expand(grid[0], -1, -1)
    return torch.cat([row_part, column_part], 2).flatten(0, 1)
