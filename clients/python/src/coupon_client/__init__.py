"""The client of Coupon's routers: typed calls, safe retries, exceptions by reason.

    from coupon_client import Client, SoldOut

    with Client(["router-1.example:7000", "router-2.example:7000"]) as client:
        try:
            print(client.issue_coupon(campaign_id="spring", recipient="ann").coupon.code)
        except SoldOut:
            print("too late")
"""

from . import v1 as v1
from ._batch import BatchResult as BatchResult
from ._decode import error_from_status as error_from_status
from ._import import ImportResult as ImportResult
from ._request_id import new_request_id as new_request_id
from ._retry import RetryPolicy as RetryPolicy
from .aio import AsyncClient as AsyncClient
from .client import Client as Client
from .errors import CouponError as CouponError
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import Incomplete as Incomplete
from .errors import Internal as Internal
from .errors import OutcomeUnknown as OutcomeUnknown
from .errors import Refused as Refused
from .errors import TransportError as TransportError
from .errors import Unavailable as Unavailable
from .errors import Violation as Violation
from .reasons import *
