"""Checks of the topics and the consumer group before anything is consumed. Every problem is named with its cure."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin.group import check_members, check_read
from transforms.kafka.admin.new_topics import make_topic, room_for_headers
from transforms.kafka.admin.refused_connection import why_refused
