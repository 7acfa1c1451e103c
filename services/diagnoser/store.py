"""Owns the statements on the table that this service alone writes: `diagnoses`. It must not decide anything."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import diagnoses
from backbone.database.upsert import upsert
from schemas.diagnosis import DiagnosisReady


async def put_diagnosis(conn: AsyncConnection, record: DiagnosisReady) -> None:
    """Writes a diagnosis in the caller's transaction; the same id again replaces it."""
    first = record.causes[0]
    row = {
        "id": record.id,
        "run_id": record.run_id,
        "final": record.final,
        "created_at_us": record.at,
        "cause": first.cause,
        "confidence": first.confidence,
        "summary": record.summary,
        "record": record.model_dump(mode="json"),
    }
    await upsert(conn, diagnoses, [row])


async def has_diagnosis(conn: AsyncConnection, diagnosis_id: str) -> bool:
    """Whether a diagnosis of this id is there."""
    return (await conn.execute(sa.select(diagnoses.c.id).where(diagnoses.c.id == diagnosis_id))).first() is not None
